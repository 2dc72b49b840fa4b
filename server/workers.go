package server

import "sync"

// workers are goroutines that wait for work and are used again, the last one
// first: its stack is warm and has grown to what handlers need.
type workers struct {
	mu      sync.Mutex
	idle    []*worker
	stopped bool
}

type worker struct{ jobs chan job }

// job is a piece of work.
type job interface{ work() }

// maxIdle is how many goroutines are kept for later.
const maxIdle = 512

// start has j done by a goroutine of its own.
func (ws *workers) start(j job) {
	ws.mu.Lock()
	n := len(ws.idle)
	if n == 0 {
		ws.mu.Unlock()
		w := &worker{jobs: make(chan job, 1)}
		w.jobs <- j
		go ws.run(w)
		return
	}
	w := ws.idle[n-1]
	ws.idle = ws.idle[:n-1]
	ws.mu.Unlock()
	w.jobs <- j
}

func (ws *workers) run(w *worker) {
	for j := range w.jobs {
		j.work()
		ws.mu.Lock()
		if ws.stopped || len(ws.idle) >= maxIdle {
			ws.mu.Unlock()
			return
		}
		ws.idle = append(ws.idle, w)
		ws.mu.Unlock()
	}
}

// stop lets idle goroutines end, and the others when they become idle.
func (ws *workers) stop() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.stopped = true
	for _, w := range ws.idle {
		close(w.jobs)
	}
	ws.idle = nil
}
