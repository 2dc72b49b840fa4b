module peel/bench

go 1.26.0

require (
	github.com/valyala/fasthttp v1.77.0
	golang.org/x/net v0.62.0
	peel v0.0.0
)

replace peel => ../
