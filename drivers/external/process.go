package external

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// pipeHolds is the most that a pipe holds when nobody reads, in bytes (pipe(7), "Pipe capacity").
	pipeHolds = 64 << 10
	// drainWait is how long what a program that has ended may have left in its pipes is waited for, where somebody else holds them open.
	drainWait = 500 * time.Millisecond
	// writeWait is how long the program may take to make room for a line; it has a whole pipe of it before.
	writeWait = 50 * time.Millisecond
	// burstTime and burstLines are what `lines` may be exceeded by: a while, and what a pipe holds of short lines that were not read.
	burstTime  = 10
	burstLines = 2048
	// ahead is how many lines are kept that were not asked for yet.
	ahead = 64
)

// A starter starts the program of d.
type starter func(d *device) (*process, error)

// A process is a program that runs. Its goroutines end with it, or with release.
type process struct {
	in interface {
		io.WriteCloser
		SetWriteDeadline(t time.Time) error
	}
	out interface {
		io.ReadCloser
		SetReadDeadline(t time.Time) error
	}
	errs *os.File                 // its standard error; nil = there is none
	kill func(sig syscall.Signal) // the program and its group, which are there

	device *device
	lines  chan line     // closed when all was read
	quit   chan struct{} // closed when nobody takes lines any more
	ended  chan struct{} // closed when the program has ended, and all that is said of that stands below
	mute   chan struct{} // closed when its standard error was read to the end
	all    sync.WaitGroup

	dismissed sync.Once

	part   []byte // of a line without its end; read's own
	isLong bool   // that line is longer than one may be; read's own

	writing sync.Mutex // held while a line is written

	mu       sync.Mutex           // guards all below
	heard    time.Time            // when the last line came, or the start was
	spoke    bool                 // there was a reading
	why      string               // it was stopped; "" = it was not, or not yet
	isReload bool                 // it was stopped because it has changed
	isOver   bool                 // it was waited for: there is nothing to kill
	exit     string               // how it has ended, for instance "exit status 1"
	words    tail                 // of its standard error
	waiting  map[uint64]chan line // Sets under way
	timers   []*time.Timer        // of stop
	credit   float64              // lines that may come
	filled   time.Time            // when credit was last looked at
}

// begin makes p, whose in, out, errs, kill and device are set, read what the program writes.
func (p *process) begin() {
	p.lines, p.quit = make(chan line, ahead), make(chan struct{})
	p.ended, p.mute = make(chan struct{}), make(chan struct{})
	p.waiting = map[uint64]chan line{}
	p.heard, p.filled = time.Now(), time.Now()
	p.credit = p.most()
	p.all.Go(p.read)
	p.all.Go(p.listen)
}

// most returns how many lines may come at once.
func (p *process) most() float64 { return float64(burstTime*p.device.c.Lines + burstLines) }

// read takes lines until the program's output ends. A program that has ended may have left some in the pipe, and an end of the pipe to
// somebody else: over then sets a deadline.
func (p *process) read() {
	defer close(p.lines)
	buf := make([]byte, 8<<10)
	isOver := false
	for left := pipeHolds; left > 0; {
		n, err := p.out.Read(buf)
		if !p.split(buf[:n]) {
			return
		}
		switch {
		case err != nil && (isOver || !errors.Is(err, os.ErrDeadlineExceeded)):
			left = 0
		case err != nil:
			isOver = true
		}
		if isOver {
			left -= n
			if p.out.SetReadDeadline(time.Now().Add(drainWait)) != nil {
				left = 0
			}
		}
	}
	p.split([]byte("\n")) // what stands there is whole if it is a JSON object
}

// split hands on the lines that b completes. It returns false when there is no use in reading on.
func (p *process) split(b []byte) bool {
	for len(b) > 0 {
		piece, rest, isWhole := bytes.Cut(b, []byte("\n"))
		b = rest
		p.part = append(p.part, piece...)
		if n := len(p.part); p.isLong || n >= maxLine {
			if !p.isLong && !p.deliver(line{bad: fmt.Sprintf("is longer than %d bytes: %s", maxLine, excerpt(p.part[:maxLine]))}) {
				return false
			}
			p.isLong, p.part = true, p.part[:0]
			if !p.spend(float64(n) / maxLine) {
				return false
			}
		}
		if !isWhole {
			continue
		}
		if whole := bytes.TrimSpace(p.part); !p.spend(1) || len(whole) > 0 && !p.deliver(parse(whole, p.device.channels)) {
			return false
		}
		p.part, p.isLong = p.part[:0], false
	}
	return true
}

// listen keeps the last words that the program says on its standard error.
func (p *process) listen() {
	defer close(p.mute)
	for buf := make([]byte, 4<<10); p.errs != nil; {
		n, err := p.errs.Read(buf)
		p.mu.Lock()
		p.words.add(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// deliver hands l on to whom it concerns. It returns false when nobody wants lines any more.
func (p *process) deliver(l line) bool {
	p.mu.Lock()
	p.spoke = p.spoke || l.reading.Channel != ""
	if l.ack != 0 {
		c := p.waiting[l.ack]
		delete(p.waiting, l.ack)
		p.mu.Unlock()
		if c != nil {
			c <- l
			return true
		}
		l = line{bad: fmt.Sprintf("answers the number %d, which nobody waits for", l.ack)}
	} else {
		p.mu.Unlock()
	}
	select {
	case p.lines <- l:
		return true
	case <-p.quit:
		return false
	}
}

// spend counts n lines. It returns false, and stops the program, when these are too many.
func (p *process) spend(n float64) bool {
	p.mu.Lock()
	now := time.Now()
	p.credit = min(p.most(), p.credit+now.Sub(p.filled).Seconds()*float64(p.device.c.Lines)) - n
	p.filled = now
	if n == 1 {
		p.heard = now
	}
	ok := p.credit > 0
	p.mu.Unlock()
	if !ok {
		p.fail(fmt.Sprintf("it wrote more than %d lines/s (lines)", p.device.c.Lines), false)
	}
	return ok
}

// fail stops the program because of why, if it was not stopped before.
func (p *process) fail(why string, isReload bool) {
	p.mu.Lock()
	isFirst := p.why == ""
	if isFirst {
		p.why, p.isReload = why, isReload
	}
	p.mu.Unlock()
	if isFirst {
		p.stop(p.device.c.Grace)
	}
}

// stop ends the program's input, a third of grace later asks it to end, and kills it when grace is over. It does not wait.
func (p *process) stop(grace time.Duration) {
	_ = p.in.Close() // closed already, or as good as closed
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.timers {
		t.Stop()
	}
	p.timers = []*time.Timer{
		time.AfterFunc(grace/3, func() { p.signal(syscall.SIGTERM) }),
		time.AfterFunc(grace, func() { p.signal(syscall.SIGKILL) }),
	}
}

// signal sends sig to the program and its group, unless it has ended.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isOver {
		p.kill(sig)
	}
}

// over notes that the program has ended, and how. wait is called when nobody can signal it any more.
func (p *process) over(wait func() string) {
	p.mu.Lock()
	p.isOver, p.exit = true, wait()
	for _, t := range p.timers {
		t.Stop()
	}
	p.mu.Unlock()
	_ = p.out.SetReadDeadline(time.Now()) // closed, if that fails
	if p.errs != nil {
		_ = p.errs.SetReadDeadline(time.Now().Add(drainWait))
	}
	<-p.mute
	close(p.ended)
}

// dismiss gives back what p holds; its goroutines end by that, or when the program does.
func (p *process) dismiss() {
	p.dismissed.Do(func() {
		close(p.quit)
		_ = p.in.Close() // closed already, perhaps
		_ = p.out.Close()
		if p.errs != nil {
			_ = p.errs.Close()
		}
	})
}

// release gives back what p, which has ended, holds, and waits for its goroutines.
func (p *process) release() {
	p.dismiss()
	p.all.Wait()
}

// send writes one line to the program's standard input.
func (p *process) send(b []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.in.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return fmt.Errorf("write to program %s: %w", p.device.name, err)
	}
	_, err := p.in.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("write to program %s: it does not read its standard input: %w", p.device.name, err)
	}
	if err != nil {
		return fmt.Errorf("write to program %s: %w", p.device.name, err)
	}
	return nil
}

// expect returns where the answer to the Set with number id will come, until forget.
func (p *process) expect(id uint64) <-chan line {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan line, 1)
	p.waiting[id] = c
	return c
}

func (p *process) forget(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// silence returns how long the program has said nothing.
func (p *process) silence() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.heard)
}

// How a program has ended.
const (
	byFault  = iota
	byItself // with exit status 0
	byReload // it was stopped because it has changed
)

// end returns what is to be said of the end of the program, and how that came; spoke = there were readings.
func (p *process) end() (text string, how int, spoke bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text = fmt.Sprintf("program %s has ended: %s", p.device.name, p.exit)
	switch {
	case p.isReload:
		how = byReload
	case p.why != "":
		text = fmt.Sprintf("program %s was stopped: %s", p.device.name, p.why)
	case p.exit == "exit status 0":
		how = byItself
	}
	if words := p.words.String(); words != "" {
		text += "; its last words: " + words
	}
	return text, how, p.spoke
}

// finish stops p and releases it. It returns false when the end takes longer than closeWait: then the goroutines are not waited for.
func (p *process) finish() bool {
	p.stop(min(closeGrace, p.device.c.Grace))
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-p.ended:
		p.release()
		return true
	case <-t.C:
		p.dismiss()
		return false
	}
}

// A tail is the end of a text.
type tail struct{ b []byte }

// tailMost is how much of a text is kept, in bytes.
const tailMost = 1024

func (t *tail) add(b []byte) {
	t.b = append(t.b, b[max(0, len(b)-tailMost):]...)
	if n := len(t.b) - tailMost; n > 0 {
		t.b = t.b[:copy(t.b, t.b[n:])]
	}
}

// String returns the last line that is not blank, at most 200 bytes of it, in quotes; "" = there is none.
func (t *tail) String() string {
	b := bytes.TrimSpace(t.b)
	b = bytes.TrimSpace(b[bytes.LastIndexByte(b, '\n')+1:])
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf("%+q", b[max(0, len(b)-200):])
}
