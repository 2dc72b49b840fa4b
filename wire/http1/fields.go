package http1

import (
	"bytes"
	"strings"

	"peel/trace"
)

// Fields describes a head as a tree with byte ranges: the start line with its
// parts, then each field line. It takes what is there of a head that is cut.
func Fields(head []byte) []trace.Field {
	end := bytes.IndexByte(head, '\n')
	if end < 0 {
		end = len(head) - 1
	}
	line := strings.TrimRight(string(head[:end+1]), "\r\n")
	out := []trace.Field{startFields(line)}
	out[0].Length = end + 1
	for _, l := range FieldLines(head) {
		out = append(out, fieldLine(string(head[l.Offset:l.Offset+l.Length]), l))
	}
	return out
}

func startFields(line string) trace.Field {
	part := func(name string, from, to int) trace.Field {
		return trace.Field{Name: name, Value: line[from:to], Offset: from, Length: to - from}
	}
	if strings.HasPrefix(line, "HTTP/") {
		f := trace.Field{Name: "http.response.line", Value: line}
		i := strings.IndexByte(line, ' ')
		if i < 0 {
			return f
		}
		f.Children = append(f.Children, part("http.response.version", 0, i))
		j := strings.IndexByte(line[i+1:], ' ')
		if j < 0 {
			f.Children = append(f.Children, part("http.response.code", i+1, len(line)))
			return f
		}
		j += i + 1
		f.Children = append(f.Children, part("http.response.code", i+1, j), part("http.response.phrase", j+1, len(line)))
		return f
	}
	f := trace.Field{Name: "http.request.line", Value: line}
	i, j := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ' ')
	if i < 0 || j <= i {
		return f
	}
	f.Children = []trace.Field{part("http.request.method", 0, i), part("http.request.uri", i+1, j), part("http.request.version", j+1, len(line))}
	return f
}

// known are the fields for which Wireshark has a name of its own.
var known = map[string]string{
	"host": "http.host", "user-agent": "http.user_agent", "accept": "http.accept", "accept-encoding": "http.accept_encoding",
	"accept-language": "http.accept_language", "connection": "http.connection", "content-length": "http.content_length_header",
	"content-type": "http.content_type", "content-encoding": "http.content_encoding", "transfer-encoding": "http.transfer_encoding",
	"location": "http.location", "cookie": "http.cookie", "set-cookie": "http.set_cookie", "server": "http.server", "date": "http.date",
	"referer": "http.referer", "authorization": "http.authorization", "cache-control": "http.cache_control", "last-modified": "http.last_modified",
	"www-authenticate": "http.www_authenticate", "upgrade": "http.upgrade",
}

func fieldLine(line string, at Line) trace.Field {
	text := strings.TrimRight(line, "\r\n")
	name, value, ok := strings.Cut(text, ":")
	f := trace.Field{Name: "http.header", Value: text, Offset: at.Offset, Length: at.Length}
	if !ok {
		return f
	}
	if k := known[strings.ToLower(name)]; k != "" {
		f.Name = k
	}
	lead := len(value) - len(strings.TrimLeft(value, " \t"))
	f.Value = strings.Trim(value, " \t")
	f.Children = []trace.Field{
		{Name: "http.header.name", Value: name, Offset: at.Offset, Length: len(name)},
		{Name: "http.header.value", Value: f.Value, Offset: at.Offset + len(name) + 1 + lead, Length: len(f.Value)},
	}
	return f
}
