package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"peel/internal/pki"
	"peel/trace"
)

// The test binary plays peel itself when asked to, so that the tests see what
// a shell sees: streams, signals and the exit code.
func TestMain(m *testing.M) {
	if os.Getenv("PEEL_TEST_MAIN") == "1" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// ran is one finished run of a program.
type ran struct {
	stdout, stderr string
	code           int
	trace          *trace.Trace // of peel only, nil when it wrote none
	json           []byte
}

// patience bounds every run: a run that takes longer is a failure.
const patience = 30 * time.Second

func command(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = t.TempDir()
	return c
}

func peelCommand(t *testing.T, args ...string) *exec.Cmd {
	c := command(t, os.Args[0], args...)
	c.Env = append(os.Environ(), "PEEL_TEST_MAIN=1", "HOME="+c.Dir)
	return c
}

// finish runs a command to its end, and beside it what is to happen during the
// run. It stops the test only when the command could not run at all.
func finish(t *testing.T, c *exec.Cmd, during ...func()) ran {
	t.Helper()
	return finishStarted(t, c, c.Start, during...)
}

// finishStarted is finish for a command that is started in its own way.
func finishStarted(t *testing.T, c *exec.Cmd, start func() error, during ...func()) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &stdout
	}
	if c.Stderr == nil {
		c.Stderr = &stderr
	}
	err := start()
	if err == nil {
		for _, f := range during {
			go f()
		}
		err = c.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", c.Args, err)
	}
	r := ran{stdout: stdout.String(), stderr: stderr.String(), code: c.ProcessState.ExitCode()}
	if r.code < 0 {
		t.Fatalf("%v: %v\n%s", c.Args, err, r.stderr)
	}
	return r
}

// traced runs peel and reads the trace it wrote.
func traced(t *testing.T, args ...string) ran {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace.json")
	r := finish(t, peelCommand(t, append([]string{"--json=" + file}, args...)...))
	return withTrace(t, r, file)
}

func withTrace(t *testing.T, r ran, file string) ran {
	t.Helper()
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return r
	}
	if err != nil {
		t.Fatal(err)
	}
	r.json, r.trace = b, &trace.Trace{}
	if err := json.Unmarshal(b, r.trace); err != nil {
		t.Fatalf("--json: %v", err)
	}
	return r
}

// freePort is a TCP port of 127.0.0.1 that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// background runs a server until the test's end, and returns once all ports
// accept connections.
func background(t *testing.T, c *exec.Cmd, ports ...string) {
	t.Helper()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if c.Cancel != nil {
		c.Cancel = func() error { return nil } // a server has the test's time, not a command's
	}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		c.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(2 * time.Second):
			c.Process.Kill()
			<-gone
		}
		if t.Failed() && out.Len() < 4000 {
			t.Logf("%s: %s", c.Args[0], out.String())
		}
	})
	for _, p := range ports {
		for until := time.Now().Add(10 * time.Second); ; {
			nc, err := net.Dial("tcp", "127.0.0.1:"+p)
			if err == nil {
				nc.Close()
				break
			}
			select {
			case <-gone:
				t.Fatalf("%v ended: %s", c.Args, out.String())
			case <-time.After(10 * time.Millisecond):
			}
			if time.Now().After(until) {
				t.Fatalf("%v does not listen on port %s: %v", c.Args, p, err)
			}
		}
	}
}

// certificates is a CA and one server certificate below it, in files.
type certificates struct {
	authority      *pki.Authority
	ca, chain, key string
}

func newCertificates(t *testing.T, l pki.Leaf) *certificates {
	t.Helper()
	a, err := pki.NewAuthority("test", true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Issue(l)
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := pki.PEM(c)
	if err != nil {
		t.Fatal(err)
	}
	return &certificates{a, writeFile(t, "ca.pem", a.PEM()), writeFile(t, "chain.pem", chain), writeFile(t, "key.pem", key)}
}

func writeFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
