package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestWebhookAnswers holds what each thing that a receiver can do is taken for.
func TestWebhookAnswers(t *testing.T) {
	answer := func(code int, header, value, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set(header, value)
			}
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	hijack := func(what string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			fmt.Fprint(c, what)
			c.Close()
		}
	}
	soon := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	tests := []struct {
		reason  string
		handler http.HandlerFunc
		want    string // in the error, "" for none
		refused bool
		later   time.Duration // that a LaterError says, -1 for none; less some seconds for a date
	}{
		{"200", answer(200, "", "", "ok"), "", false, -1},
		{"204", answer(204, "", "", ""), "", false, -1},
		{"202, and then it dies", hijack("HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nhalf"), "", false, -1},
		{"200 with an endless body", func(w http.ResponseWriter, _ *http.Request) {
			for block := bytes.Repeat([]byte("x"), 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, "", false, -1},
		{"400 is of this message", answer(400, "", "", "bad label\nand more"), "400 Bad Request: bad label", true, -1},
		{"413 is of this message", answer(413, "", "", ""), "413", true, -1},
		{"what it says is made harmless", answer(422, "", "", "\x1b[2J\u202e"), `422 Unprocessable Entity: \x1b[2J\u202e`, true, -1},
		{"a wrong token loses nothing", answer(401, "", "", ""), "check its address and the secrets", false, -1},
		{"nor does a forbidden one", answer(403, "", "", "invalid_token"), "invalid_token", false, -1},
		{"nor a wrong path", answer(404, "", "", ""), "check its address", false, -1},
		{"408", answer(408, "", "", ""), "408", false, -1},
		{"429 with seconds", answer(429, "Retry-After", "7", ""), "429", false, 7 * time.Second},
		{"503 with a date", answer(503, "Retry-After", soon, ""), "503", false, 90 * time.Second},
		{"503 with a date that has passed", answer(503, "Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT", ""), "503", false, 0},
		{"429 with what is no time", answer(429, "Retry-After", "soon", ""), "429", false, -1},
		{"500", answer(500, "", "", ""), "500", false, -1},
		{"a redirect is not followed", answer(302, "Location", "/elsewhere", ""), "redirects are not followed", false, -1},
		{"nor is one that keeps the method", answer(308, "Location", "/elsewhere", ""), "308", false, -1},
		{"it hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer in time", false, -1},
		{"garbage", hijack("\x1b[2J\x00garbage\r\n\r\n"), "malformed HTTP", false, -1},
		{"headers without an end", hijack("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", 20000)), "server response headers exceeded", false, -1},
		{"it dies before it answers", hijack(""), "EOF", false, -1},
	}
	for _, secure := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, TLS %v", tt.reason, secure), func(t *testing.T) {
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/hook/secret" {
						t.Errorf("it asks for %s", r.URL.Path)
					}
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						t.Error(err)
					}
					tt.handler(w, r)
				}))
				o := WebhookOptions{Timeout: 10 * time.Second}
				if tt.reason == "it hangs" {
					o.Timeout = 100 * time.Millisecond
				}
				if secure {
					server.StartTLS()
					o.TLS = trusting(server)
				} else {
					server.Start()
				}
				defer server.Close()
				o.URL = server.URL + "/hook/secret"
				err := openWebhook(t, o).Send(t.Context(), aFinding())
				checkError(t, tt.reason, err, tt.want)
				if errors.Is(err, ErrRefused) != tt.refused {
					t.Errorf("%v: refused must be %v", err, tt.refused)
				}
				var later *LaterError
				if errors.As(err, &later) != (tt.later >= 0) {
					t.Errorf("%v: it must say %v", err, tt.later)
				} else if later != nil && (later.After > tt.later || later.After < tt.later-10*time.Second) {
					t.Errorf("again after %v, want %v", later.After, tt.later)
				}
				if err == nil {
					return
				}
				if text := strings.ReplaceAll(err.Error(), `\`, "/"); strings.Contains(text, "secret ") || strings.Contains(text, "hook/") || audit.Visible(text) != text {
					t.Errorf("it tells too much: %q", text)
				}
			})
		}
	}
}

// checkError holds an error against a part of its text, "" for none.
func checkError(t *testing.T, reason string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v, want %q", reason, err, want)
	}
}

// trusting returns what makes a client trust a server of a test.
func trusting(s *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{RootCAs: pool}
}

func openWebhook(t *testing.T, o WebhookOptions) *Webhook {
	t.Helper()
	w, err := OpenWebhook(o, JSON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestWebhookTrust(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of each refused handshake
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	own := trusting(server)
	own.Certificates = server.TLS.Certificates
	old := trusting(server)
	old.MaxVersion = tls.VersionTLS11
	tests := []struct {
		reason, want string
		config       *tls.Config
	}{
		{"a server that nobody vouches for", "certificate", nil},
		{"a server that wants to know who this is", "certificate required", trusting(server)},
		{"a client that says so", "", own},
		{"no TLS that is older than 1.2", "version", old},
	}
	for _, tt := range tests {
		err := openWebhook(t, WebhookOptions{URL: server.URL, TLS: tt.config}).Send(t.Context(), aFinding())
		checkError(t, tt.reason, err, tt.want)
		if errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v: it may be mended", tt.reason, err)
		}
	}
}

func TestWebhookUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	w := openWebhook(t, WebhookOptions{URL: "http://" + l.Addr().String() + "/T000/B000/XXXX"})
	err = w.Send(t.Context(), aFinding())
	if err == nil || !strings.Contains(err.Error(), "dial tcp") || errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "XXXX") {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Send(ctx, aFinding()); err == nil {
		t.Error("it delivers when it should not")
	}
}

func TestOpenWebhook(t *testing.T) {
	tests := []struct {
		reason, url string
		insecure    bool
		want        string
	}{
		{"HTTPS", "https://hooks.slack.com/services/T/B/X", false, ""},
		{"HTTP to this host", "http://127.0.0.1:9093", false, ""},
		{"by IPv6", "http://[::1]:9093", false, ""},
		{"by name", "http://localhost:9093", false, ""},
		{"HTTP to another", "http://10.0.0.1/secret", false, "insecure: true"},
		{"HTTP to one that is called like this host", "http://localhost.example/secret", false, "insecure: true"},
		{"HTTP to another, as was asked for", "http://10.0.0.1/secret", true, ""},
		{"a file", "file:///secret", false, "it is none"},
		{"FTP", "ftp://h/secret", false, "https://"},
		{"a password", "https://u:secret@h/", false, "basic_auth_file"},
		{"none", "", false, "it is none"},
		{"no URL", "https://h\x7f/secret", false, "it is none"},
	}
	for _, tt := range tests {
		_, err := OpenWebhook(WebhookOptions{URL: tt.url, Insecure: tt.insecure}, JSON)
		checkError(t, tt.reason, err, tt.want)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: it quotes the secret: %v", tt.reason, err)
		}
	}
}

// got is a request as a receiver has it.
type got struct {
	header http.Header
	body   []byte
}

// catcher takes requests, and answers all with 200.
func catcher(t *testing.T) (url string, next func() got) {
	t.Helper()
	requests := make(chan got, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s, %v", r.Method, err)
		}
		requests <- got{r.Header, body}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() got {
		t.Helper()
		select {
		case g := <-requests:
			return g
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was received")
			return got{}
		}
	}
}

func TestWebhookHeaders(t *testing.T) {
	url, next := catcher(t)
	w := openWebhook(t, WebhookOptions{URL: url, Version: "v1.2.3", Authorization: "Bearer token"})
	for range 2 { // the same at each try
		if err := w.Send(t.Context(), aFinding()); err != nil {
			t.Fatal(err)
		}
		h := next().header
		for name, want := range map[string]string{
			"Content-Type": "application/json", "User-Agent": "portaudit/v1.2.3", "Authorization": "Bearer token", "X-Portaudit-Seq": "4",
			"webhook-id": "record_8c1d3a5d0f6e1b7f0f5d3f0a9c0d6c2b", "webhook-signature": "", "webhook-timestamp": "",
		} {
			if h.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, h.Get(name), want)
			}
		}
	}
	ids := map[string]bool{}
	later := aSummary()
	later.Summary.Count++
	for _, m := range []Message{aSummary(), aSummary(), later} {
		if err := w.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		h := next().header
		id := h.Get("webhook-id")
		if !strings.HasPrefix(id, "message_") || strings.Contains(id, ".") || h.Get("X-Portaudit-Seq") != "" {
			t.Errorf("a summary has %q", h)
		}
		ids[id] = true
	}
	if len(ids) != 2 {
		t.Errorf("of two summaries, one sent twice, there are the ids %v", ids)
	}
}

// TestWebhookProxy holds that a proxy is asked for what the environment says. Its
// variables are read once in a process, so that this needs one of its own.
func TestWebhookProxy(t *testing.T) {
	url, next := catcher(t) // takes what a proxy gets of http://, which has the whole URL in it
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^TestProxiedSend$", "-test.v")
	cmd.Env = append(cmd.Environ(), "HTTP_PROXY="+url, "http_proxy="+url, "NO_PROXY=", "no_proxy=", "PORTAUDIT_TEST_PROXIED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if g := next(); g.header.Get("webhook-id") == "" {
		t.Errorf("the proxy got %v", g.header)
	}
}

func TestProxiedSend(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_PROXIED") == "" {
		t.Skip("is run by TestWebhookProxy")
	}
	w := openWebhook(t, WebhookOptions{URL: "http://receiver.invalid/hook", Insecure: true})
	if err := w.Send(t.Context(), aFinding()); err != nil {
		t.Error(err)
	}
}
