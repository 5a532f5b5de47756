package external

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test's own binary one of programs, whose name is the next argument.
const asProgram = "--program"

// TestMain lets the test's own binary be a program of the driver.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == asProgram {
		programs()[os.Args[2]](os.Args[3:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// programs are good and nasty programs.
func programs() map[string]func(args []string) {
	return map[string]func(args []string){
		"exit":    func(args []string) { say("n", 1); complain(args[1]); code, _ := strconv.Atoi(args[0]); os.Exit(code) },
		"flood":   func([]string) { flood([]byte(`{"channel":"n","value":1}` + "\n")) },
		"endless": func([]string) { flood([]byte("A")) },
		"binary":  func([]string) { flushBinary(); say("n", 2); forever() },
		"hang":    func([]string) { say("n", 1); forever() },
		"silent":  func([]string) { forever() },
		"closes":  func([]string) { say("n", 1); _ = os.Stdout.Close(); forever() },
		"deaf": func([]string) {
			signal.Ignore(syscall.SIGTERM)
			say("n", os.Getpid())
			forever()
		},
		"fork": func([]string) {
			child := exec.Command(os.Args[0], asProgram, "silent")
			child.Stdout, child.Stderr = os.Stdout, os.Stderr // it keeps the pipes open
			if err := child.Start(); err != nil {
				panic(err)
			}
			say("n", child.Process.Pid)
			_, _ = io.Copy(io.Discard, os.Stdin)
		},
		"env": func([]string) {
			wd, _ := os.Getwd()
			sayText("text", wd+" "+strings.Join(os.Environ(), " "))
			forever()
		},
		"counter": func([]string) { count() },
		"relay":   func([]string) { relay() },
		"gateway": func(args []string) { gateway(args) },
	}
}

func say(channel string, n int) { fmt.Printf("{\"channel\":%q,\"value\":%d}\n", channel, n) }

func sayText(channel, s string) {
	b, _ := json.Marshal(s)
	fmt.Printf("{\"channel\":%q,\"value\":%s}\n", channel, b)
}

func complain(s string) { fmt.Fprintln(os.Stderr, "some words before"); fmt.Fprintln(os.Stderr, s) }
func forever()          { time.Sleep(time.Hour) }

// flood writes b again and again, as fast as it is taken.
func flood(b []byte) {
	for b = []byte(strings.Repeat(string(b), max(1, 32<<10/len(b)))); ; {
		if _, err := os.Stdout.Write(b); err != nil {
			return
		}
	}
}

func flushBinary() {
	b := make([]byte, 0, 4096)
	for i := range cap(b) {
		b = append(b, byte(i*7))
	}
	_, _ = os.Stdout.Write(append(b, '\n'))
}

// count counts to its end: that of its standard input, or SIGTERM; then it says one more.
func count() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end <- syscall.SIGTERM
	}()
	for n := 1; ; n++ {
		say("n", n)
		select {
		case <-end:
			say("n", n+1)
			sayText("text", fmt.Sprintf("last %d", n+1))
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// relay is a program with an output, which refuses 13, and can be asked.
func relay() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var q struct {
			Set   string
			Value json.RawMessage
			ID    int
			Read  int
		}
		switch err := json.Unmarshal(in.Bytes(), &q); {
		case err != nil:
			panic(err)
		case q.Read > 0:
			fmt.Printf("{\"channel\":\"level\",\"value\":0}\n{\"done\":%d}\n", q.Read)
		case string(q.Value) == "13":
			fmt.Printf("{\"nack\":%d,\"error\":\"13 is bad luck\"}\n", q.ID)
		case string(q.Value) == "14": // no answer
		default:
			fmt.Printf("{\"channel\":%q,\"value\":%s}\n{\"ack\":%d}\n", q.Set, q.Value, q.ID)
		}
	}
}

// gateway opens a device with the program args, reads once, says what it was, and hangs.
func gateway(args []string) {
	c := Driver.New().(*Config)
	c.Command, c.Memory, c.List = append([]string{os.Args[0], asProgram}, args...), 0, []Channel{{Name: "n", Type: typeInteger}}
	d, err := c.Open(testContext(), nil)
	if err != nil {
		panic(err)
	}
	r, err := d.Read(testContext())
	if err != nil {
		panic(err)
	}
	fmt.Println(r[0].Value)
	forever()
}
