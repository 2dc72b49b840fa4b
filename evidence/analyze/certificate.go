package analyze

import (
	"peel/trace"
)

func (c *tlsConn) certificates(f *trace.TLS, list []sentCertificate) {
}
