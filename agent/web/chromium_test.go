package web

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A browser is Debian's chromium without a screen, told what to do over a pair of pipes (Chrome DevTools Protocol: JSON, NUL behind
// each).
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	id      int
	session string
	heard   []heard
	log     lockedText
}

// heard is something that the browser said unasked.
type heard struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// lockedText is what chromium writes on standard error.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (x *lockedText) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(b)
}

func (x *lockedText) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// newBrowser starts a browser with one empty page of that size in pixels.
func newBrowser(t *testing.T, width, height int) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: the page is tested in a real browser; make deps installs it", err)
	}
	b := &browser{t: t}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, theirs2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{theirs, theirs2}
	cmd.Stderr = &b.log
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirs.Close(), theirs2.Close()
	b.to, b.from = to, bufio.NewReaderSize(from, 1<<20)
	watchdog := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		_ = cmd.Wait() // its exit status says nothing about the page
		watchdog.Stop()
		_, _ = to.Close(), from.Close()
	})
	var list struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	b.call("Target.getTargets", nil, &list)
	for _, x := range list.TargetInfos {
		if x.Type == "page" {
			var at struct{ SessionID string }
			b.call("Target.attachToTarget", map[string]any{"targetId": x.TargetID, "flatten": true}, &at)
			b.session = at.SessionID
		}
	}
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}, nil)
	return b
}

// call calls a method of the protocol.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.id++
	m := map[string]any{"id": b.id, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("tell chromium %s: %v\n%s", method, err, b.log.String())
	}
	for {
		line, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("hear from chromium after %s: %v\n%s", method, err, b.log.String())
		}
		var answer struct {
			heard
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(line[:len(line)-1], &answer); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case answer.ID == 0:
			b.heard = append(b.heard, answer.heard)
			continue
		case answer.ID != b.id:
			continue
		case answer.Error != nil:
			b.t.Fatalf("chromium refuses %s: %s", method, answer.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// eval evaluates an expression in the page and decodes its value into result.
func (b *browser) eval(expression string, result any) {
	b.t.Helper()
	var x struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &x)
	if x.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s %s", expression, x.ExceptionDetails.Text, x.ExceptionDetails.Exception.Description)
	}
	if result != nil {
		if err := json.Unmarshal(x.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// text returns what a reader sees: no script, nothing hidden; white space is one space.
func (b *browser) text() string {
	b.t.Helper()
	var s string
	b.eval(`document.body ? document.body.innerText : ""`, &s)
	return strings.Join(strings.Fields(s), " ")
}

// until waits until the page shows want.
func (b *browser) until(want string) {
	b.t.Helper()
	var s string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s = b.text(); strings.Contains(s, want) {
			return
		}
	}
	b.t.Fatalf("the page does not show %q but\n%s", want, s)
}

// scheme makes the page think that the reader wants it light or dark.
func (b *browser) scheme(name string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}}, nil)
}

// picture writes the whole page as a PNG into the directory that TIDEGATE_PICTURES names, if it does.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("TIDEGATE_PICTURES")
	if dir == "" {
		return
	}
	var x struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &x)
	png, err := base64.StdEncoding.DecodeString(x.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.png", name)), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
