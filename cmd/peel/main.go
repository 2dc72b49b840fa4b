// Command peel makes an HTTP request and shows everything that happened on
// the way down to the wire.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"peel/view/jsontrace"
	"peel/view/redact"
)

// Exit codes: a contract with scripts.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitLimit       = 4
	exitInterrupted = 130
)

func main() { os.Exit(Main()) }

// Main runs peel as the process's own and returns the exit code.
func Main() int {
	// A reader of stdout that goes away must end in a written error and the
	// story so far, not in a signal that kills the process.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}

// streams are the standard streams of one run.
type streams struct {
	in       io.Reader
	out, err *os.File
}

const usage = `peel peels an HTTP request down to the wire.

usage: peel [get] URL…       make the request and show all that happened
       peel read FILE…       show what happened in a capture file (peel read --help)
       peel dns NAME         tell a name's whole story; with a type, ask as dig does (peel dns --help)
       peel serve dns        be a name server: from zone files, or recursive (peel serve --help)
       peel schema           print the JSON Schema of --json
       peel help             this text with every flag

examples:
  peel https://example.com/            the story on one screen
  peel -v https://example.com/         each message of each layer
  peel --json https://example.com/     the whole trace
  peel --lab https://example.com/      the same without any network
  peel https://example.com/ > page     the body, with the story on stderr
`

func run(ctx context.Context, args []string, std streams) int {
	if len(args) > 0 {
		switch args[0] {
		case "schema":
			if len(args) > 1 {
				return bad(std, errors.New("schema takes no arguments"))
			}
			if _, err := std.out.Write(append(jsontrace.Schema(), '\n')); err != nil {
				return exitFailed
			}
			return exitDone
		case "help", "--help", "-h":
			_, flags := newFlags()
			fmt.Fprintf(std.out, "%s\nflags:\n%s", usage, flags.FlagUsagesWrapped(100))
			return exitDone
		case "version", "--version", "-V":
			fmt.Fprintln(std.out, "peel", version)
			return exitDone
		case "get":
			args = args[1:]
		case "read":
			return runRead(ctx, args[1:], std)
		case "serve":
			return runServe(ctx, args[1:], std)
		case "dns":
			return runDNS(ctx, args[1:], std)
		case "page", "run", "lab", "probe", "doctor":
			return bad(std, fmt.Errorf("%q is not there yet; to request a host of that name, write http://%s/", args[0], args[0]))
		}
	}
	o, flags := newFlags()
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return run(ctx, []string{"help"}, std)
		}
		return bad(std, err)
	}
	g, err := o.plan(flags, std)
	if err != nil {
		return bad(std, err)
	}
	return g.run(ctx)
}

// bad reports wrong usage.
func bad(std streams, err error) int {
	fmt.Fprintf(std.err, "peel: %s\n      see peel help\n", redact.Text(err.Error()))
	return exitUsage
}
