package brick

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

// A keeper is the gateway's buffer at work while its program is updated: a process of its own, which commits a reading whenever it is asked, and says
// its number then. What it has said must be there whatever happens to it, to the updater and to the disk.
type keeper struct {
	cmd  *exec.Cmd
	said *bufio.Scanner
	ask  *os.File
	held uint64 // how many it had when it began: all from 1 on
	last uint64 // number of the last one that it said is kept
}

const keeperDir = "TIDEGATE_BRICK_KEEPER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(keeperDir); dir != "" {
		if err := keep(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(withPrograms(m))
}

// newKeeper opens the buffer in a state directory.
func newKeeper(state string) (*keeper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, ask, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	k := &keeper{cmd: exec.Command(self), ask: ask}
	k.cmd.Env = append(os.Environ(), keeperDir+"="+state)
	k.cmd.Stdin, k.cmd.Stderr = in, os.Stderr
	out, err := k.cmd.StdoutPipe()
	if err == nil {
		err = k.cmd.Start()
	}
	_ = in.Close() // the child has its own
	if err != nil {
		return nil, errors.Join(err, ask.Close())
	}
	k.said = bufio.NewScanner(out)
	k.held, err = k.number()
	k.last = k.held
	if err != nil {
		k.kill()
	}
	return k, err
}

func (k *keeper) number() (uint64, error) {
	if !k.said.Scan() {
		return 0, fmt.Errorf("the buffer's process has ended: %w", k.said.Err())
	}
	n, err := strconv.ParseUint(k.said.Text(), 10, 64)
	if err != nil {
		err = fmt.Errorf("the buffer: %s", k.said.Text())
	}
	return n, err
}

// read has one more reading kept.
func (k *keeper) read() error {
	if _, err := k.ask.Write([]byte("\n")); err != nil {
		return err
	}
	n, err := k.number()
	if err == nil && n != k.last+1 {
		err = fmt.Errorf("got reading %d behind %d", n, k.last)
	}
	k.last = n
	return err
}

// kill ends it without a word.
func (k *keeper) kill() {
	_ = k.cmd.Process.Kill()
	_, _ = k.cmd.Wait(), k.ask.Close()
}

// end ends it in order.
func (k *keeper) end() error { return errors.Join(k.ask.Close(), k.cmd.Wait()) }

// keep is that process. It says how many readings there are, all whole and in order, and then the number of each that is committed.
func keep(dir string) error {
	q, err := buffer.Open(buffer.Options{
		Dir: dir, Limits: buffer.Limits{MaxBytes: buffer.MinBytes, Keep: time.Hour}, Uplinks: []string{"far"}, Compactors: 2, Version: "rig",
		Count: func(_ []byte, _, n int) (int, error) { return n, nil },
		Each:  func(_ []byte, f func(string, int)) error { f("", 1); return nil },
		Cut:   func(body []byte, _, _ int) ([]byte, error) { return body, nil },
	})
	if err != nil {
		return err
	}
	q.AddEpoch(1, buffer.Epoch{ID: "rig", Start: 1})
	last, err := kept(q)
	if err != nil {
		return err
	}
	fmt.Println(last)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		last++
		f := buffer.Frame{Epoch: 1, Class: tidegate.ClassReading, First: last, Last: last, Count: 1, T0: 1, T1: 1, Body: binary.BigEndian.AppendUint64(nil, last)}
		q.Put(f)
		if err := q.Commit(buffer.Commit{Frames: []buffer.Frame{f}, Position: buffer.Position{Epoch: 1, Next: last + 1, Time: 1}}); err != nil {
			return err
		}
		fmt.Println(last)
	}
	return q.Close()
}

// kept returns how many readings the buffer has, if they are all that there should be: what the queue says of itself and what it shows.
func kept(q *buffer.Queue) (last uint64, err error) {
	c, err := q.Cursor("far")
	if err != nil {
		return 0, err
	}
	for {
		looks, err := c.Next(tidegate.ClassReading, buffer.Place{Epoch: 1, Number: last + 1}, 1<<20)
		if err != nil {
			return 0, err
		}
		if len(looks) == 0 {
			break
		}
		for _, l := range looks {
			if l.First != last+1 || l.Last != l.First || string(l.Body) != string(binary.BigEndian.AppendUint64(nil, l.First)) {
				return 0, fmt.Errorf("got records %d to %d of %x behind %d", l.First, l.Last, l.Body, last)
			}
			last = l.Last
		}
	}
	if next := max(q.Position().Next, 1); next != last+1 {
		return 0, fmt.Errorf("got %d readings, the store followed to %d", last, next-1)
	}
	if asked := q.Requests(); len(asked) > 0 {
		return 0, fmt.Errorf("something is to be declared lost: %v", asked)
	}
	if bad := q.BadStores(); len(bad) > 0 {
		return 0, fmt.Errorf("a store was set aside: %s", strings.Join(bad, ", "))
	}
	return last, nil
}
