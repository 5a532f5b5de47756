package profile

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// snippet returns the n-th fenced block of ../README.md.
func snippet(t *testing.T, n int) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```\n")
	if len(parts) < 2*n+2 {
		t.Fatalf("../README.md has %d fenced blocks, want more than %d", len(parts)/2, n)
	}
	return parts[2*n+1]
}

// program returns the path of one of mosquitto's programs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Fatalf("%s is missing: %v; install Debian's mosquitto and mosquitto-clients", name, err)
		}
	}
	return path
}

// startBroker runs mosquitto on loopback with the two snippets of ../README.md and returns its port.
func startBroker(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	passwords := file("passwords", "")
	for _, user := range []string{"gw-1", "gw-2", "receiver"} {
		if out, err := exec.Command(program(t, "mosquitto_passwd"), "-b", passwords, user, "secret").CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_passwd: %v: %s", err, out)
		}
	}
	conf := fmt.Sprintf("listener %s 127.0.0.1\nuser root\npassword_file %s\nacl_file %s\n%s",
		port, passwords, file("acl", snippet(t, 0)), snippet(t, 1))
	broker := exec.Command(program(t, "mosquitto"), "-c", file("conf", conf))
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = broker.Process.Kill() // it may have ended by itself
		_ = broker.Wait()         // killed
	})
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close() // nothing was sent
			return port
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not listen: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestREADMEsRightsHold sets mosquitto up as ../README.md says. Everyone publishes on every topic, retained; then everyone reads
// every topic: what is there, and who sees it, must be what the contract says and no more.
func TestREADMEsRightsHold(t *testing.T) {
	port := startBroker(t)
	p, _ := ByName("generic")
	topics := p.Topics("gw-1")
	up := []string{topics.Data, topics.Backfill, topics.Alarm, topics.Audit, topics.Status, topics.Reply}
	all := append(up, topics.Receipt, topics.Command)
	for _, user := range []string{"gw-1", "gw-2", "receiver"} {
		for _, topic := range all {
			out, err := exec.Command(program(t, "mosquitto_pub"), "-p", port, "-u", user, "-P", "secret", "-q", "1", "-r",
				"-t", topic, "-m", "of "+user).CombinedOutput()
			if err != nil {
				t.Fatalf("mosquitto_pub as %s: %v: %s", user, err, out)
			}
		}
	}
	read := func(user string) string {
		args := []string{"-p", port, "-u", user, "-P", "secret", "-W", "1", "-F", "%t %p"}
		for _, topic := range all {
			args = append(args, "-t", topic)
		}
		out, err := exec.Command(program(t, "mosquitto_sub"), args...).Output()
		var ended *exec.ExitError
		if err != nil && !(errors.As(err, &ended) && ended.ExitCode() == 27) { // 27 = the time of -W is over
			t.Fatalf("mosquitto_sub as %s: %v: %s", user, err, out)
		}
		return strings.ReplaceAll(string(out), "tg/v1/gw-1/", "")
	}
	want := map[string]string{
		"gw-1":     "down/receipt of receiver\n",
		"gw-2":     "",
		"receiver": "up/data of gw-1\nup/backfill of gw-1\nup/alarm of gw-1\nup/audit of gw-1\nup/status of gw-1\nup/reply of gw-1\n",
	}
	for user, text := range want {
		if got := read(user); got != text {
			t.Errorf("%s reads\n%swant\n%s", user, got, text)
		}
	}
}
