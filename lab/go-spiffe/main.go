// A workload on go-spiffe: a server and a client at once, told by lines on standard input what to do.
//
// Usage: go-spiffe WORKLOAD_API_SOCKET SPIFFE_ID
//
// It waits until the Workload API gives it that identity, follows it from then on, and prints
//
//	listening ADDRESS
//
// Each connection to ADDRESS is answered with the SPIFFE ID of the client, once the handshake has shown it; a client of any
// trust domain whose bundle is here is let in. Each line of standard input is answered with one line:
//
//	bundles                       "bundles" and the trust domains whose bundles it holds, in order
//	authorities TRUST_DOMAIN      "authorities" and how many of them it holds
//	issuer                        "issuer" and the key id of the authority that has signed its certificate
//	call ADDRESS SPIFFE_ID        "ok" and the SPIFFE ID that the server saw, or "failed" and why
//	load ADDRESS SPIFFE_ID RATE   "loading": as many handshakes a second from now on, each on a connection of its own
//	rest                          "rested HANDSHAKES FAILURES": ends the loads; the failures are on standard error
//
// The end of standard input ends the program.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

// A handshake that takes longer has failed.
const patience = 10 * time.Second

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if len(os.Args) != 3 {
		log.Fatal("usage: go-spiffe WORKLOAD_API_SOCKET SPIFFE_ID")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(socket, identity string) error {
	id, err := spiffeid.FromString(identity)
	if err != nil {
		return err
	}
	source, err := follow("unix://"+socket, id)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go serve(source, listener)
	fmt.Println("listening", listener.Addr())

	w := workload{source: source}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := w.do(strings.Fields(lines.Text()))
		if err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		fmt.Println(answer)
	}
	return lines.Err()
}

func serve(source *source, inner net.Listener) {
	mode := spiffetls.MTLSServerWithRawConfig(tlsconfig.AuthorizeAny(), source, source)
	listener, err := spiffetls.NewListenerWithMode(context.Background(), inner, mode)
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			connection.SetDeadline(time.Now().Add(patience))
			// The first read is what makes the handshake; the client closes its side after it.
			if _, err := io.Copy(io.Discard, connection); err != nil {
				log.Printf("a client is not let in: %v", err)
				// To close while something of the client is unread would reset the connection before the client knows why.
				io.Copy(io.Discard, connection.(interface{ NetConn() net.Conn }).NetConn())
				return
			}
			if client, err := spiffetls.PeerIDFromConn(connection); err == nil {
				fmt.Fprintln(connection, client)
			}
		}()
	}
}

type workload struct {
	source *source
	loads  []*load
}

func (w *workload) do(words []string) (string, error) {
	switch {
	case len(words) == 1 && words[0] == "bundles":
		return strings.Join(append([]string{"bundles"}, w.source.trustDomains()...), " "), nil
	case len(words) == 2 && words[0] == "authorities":
		trustDomain, err := spiffeid.TrustDomainFromString(words[1])
		if err != nil {
			return "", err
		}
		bundle, err := w.source.GetX509BundleForTrustDomain(trustDomain)
		if err != nil {
			return "authorities 0", nil
		}
		return fmt.Sprintf("authorities %d", len(bundle.X509Authorities())), nil
	case len(words) == 1 && words[0] == "issuer":
		svid, err := w.source.GetX509SVID()
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("issuer %x", svid.Certificates[0].AuthorityKeyId), nil
	case len(words) == 3 && words[0] == "call":
		server, err := spiffeid.FromString(words[2])
		if err != nil {
			return "", err
		}
		client, err := w.source.call(words[1], server)
		if err != nil {
			return fmt.Sprintf("failed %v", err), nil
		}
		return "ok " + client, nil
	case len(words) == 4 && words[0] == "load":
		server, err := spiffeid.FromString(words[2])
		if err != nil {
			return "", err
		}
		rate, err := strconv.Atoi(words[3])
		if err != nil || rate < 1 {
			return "", errors.New("a rate is a number of handshakes a second")
		}
		w.loads = append(w.loads, start(w.source, words[1], server, rate))
		return "loading", nil
	case len(words) == 1 && words[0] == "rest":
		var handshakes, failures int64
		for _, load := range w.loads {
			load.stop()
			handshakes += load.handshakes.Load()
			failures += load.failures.Load()
		}
		w.loads = nil
		return fmt.Sprintf("rested %d %d", handshakes, failures), nil
	}
	return "", errors.New("not something that can be done")
}

// One handshake: who the server says that we are, if both sides accept each other.
func (s *source) call(address string, server spiffeid.ID) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	mode := spiffetls.MTLSClientWithRawConfig(tlsconfig.AuthorizeID(server), s, s)
	connection, err := spiffetls.DialWithMode(ctx, "tcp", address, mode)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	// In TLS 1.3 the client is done before the server has judged it, so only an answer says that it was accepted.
	if err := connection.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(connection)
	if err != nil {
		return "", err
	}
	if len(answer) == 0 {
		return "", errors.New("the server says nothing")
	}
	return strings.TrimSpace(string(answer)), nil
}

type load struct {
	handshakes, failures atomic.Int64
	ended                chan struct{}
	running              sync.WaitGroup
}

func start(source *source, address string, server spiffeid.ID, rate int) *load {
	l := &load{ended: make(chan struct{})}
	l.running.Add(1)
	go func() {
		defer l.running.Done()
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		for {
			select {
			case <-l.ended:
				return
			case <-ticker.C:
			}
			l.running.Add(1)
			go func() {
				defer l.running.Done()
				_, err := source.call(address, server)
				l.handshakes.Add(1)
				if err != nil {
					l.failures.Add(1)
					log.Printf("a handshake failed: %v", err)
				}
			}()
		}
	}()
	return l
}

func (l *load) stop() {
	close(l.ended)
	l.running.Wait()
}
