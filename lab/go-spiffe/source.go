package main

import (
	"context"
	"log"
	"slices"
	"sync/atomic"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// What the Workload API says now of one identity. The library's own source does not say which bundles it holds.
type source struct {
	id    spiffeid.ID
	held  atomic.Pointer[held]
	ready chan struct{}
}

type held struct {
	svid    *x509svid.SVID
	bundles *x509bundle.Set
}

// Waits until the identity is there.
func follow(api string, id spiffeid.ID) (*source, error) {
	s := &source{id: id, ready: make(chan struct{})}
	failed := make(chan error, 1)
	go func() {
		failed <- workloadapi.WatchX509Context(context.Background(), s, workloadapi.WithAddr(api))
	}()
	select {
	case <-s.ready:
		return s, nil
	case err := <-failed:
		return nil, err
	}
}

func (s *source) OnX509ContextUpdate(update *workloadapi.X509Context) {
	for _, svid := range update.SVIDs {
		if svid.ID == s.id {
			if s.held.Swap(&held{svid, update.Bundles}) == nil {
				close(s.ready)
			}
			return
		}
	}
	// Without its identity an application keeps what it has.
	log.Printf("%s is not among the identities that the Workload API gives", s.id)
}

func (s *source) OnX509ContextWatchError(err error) {
	log.Printf("the Workload API: %v", err)
}

func (s *source) GetX509SVID() (*x509svid.SVID, error) {
	return s.held.Load().svid, nil
}

func (s *source) GetX509BundleForTrustDomain(trustDomain spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return s.held.Load().bundles.GetX509BundleForTrustDomain(trustDomain)
}

func (s *source) trustDomains() []string {
	var names []string
	for _, bundle := range s.held.Load().bundles.Bundles() {
		names = append(names, bundle.TrustDomain().Name())
	}
	slices.Sort(names)
	return names
}
