// Serves a file of clusters and endpoints with go-control-plane: the peer of the benchmark of our xDS server.
//
// Usage: go-control-plane ADDRESS WORLD
//
// WORLD is an encoded DeltaDiscoveryResponse with all resources in it. A line "NAME PORT" on standard input moves the
// endpoint of that name to that port; the end of standard input ends the program.
//
// Of go-control-plane's caches this takes the linear one, one for each type: every client sees the same, and it is told of
// a change of one resource, where the snapshot cache is given a whole new world each time.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"os"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go-control-plane ADDRESS WORLD")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(address, file string) error {
	clusters, endpoints, err := read(file)
	if err != nil {
		return err
	}
	endpointCache := cache.NewLinearCache(resource.EndpointType, cache.WithInitialResources(endpoints))
	caches := &cache.MuxCache{
		Classify:      func(request *cache.Request) string { return request.GetTypeUrl() },
		ClassifyDelta: func(request *cache.DeltaRequest) string { return request.GetTypeUrl() },
		Caches: map[string]cache.Cache{
			resource.ClusterType:  cache.NewLinearCache(resource.ClusterType, cache.WithInitialResources(clusters)),
			resource.EndpointType: endpointCache,
		},
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	services := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(services, server.NewServer(context.Background(), caches, nil))
	failed := make(chan error, 1)
	go func() { failed <- services.Serve(listener) }()
	go func() { failed <- follow(endpoints, endpointCache) }()
	return <-failed
}

func read(file string) (clusters, endpoints map[string]types.Resource, err error) {
	encoded, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var world discovery.DeltaDiscoveryResponse
	if err := proto.Unmarshal(encoded, &world); err != nil {
		return nil, nil, err
	}
	clusters, endpoints = map[string]types.Resource{}, map[string]types.Resource{}
	for _, each := range world.GetResources() {
		var message types.Resource
		var into map[string]types.Resource
		switch each.GetResource().GetTypeUrl() {
		case resource.ClusterType:
			message, into = &cluster.Cluster{}, clusters
		case resource.EndpointType:
			message, into = &endpoint.ClusterLoadAssignment{}, endpoints
		default:
			return nil, nil, fmt.Errorf("%s is neither a cluster nor an endpoint", each.GetName())
		}
		if err := proto.Unmarshal(each.GetResource().GetValue(), message); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", each.GetName(), err)
		}
		into[each.GetName()] = message
	}
	return clusters, endpoints, nil
}

// follow moves endpoints as standard input says, until it ends.
func follow(endpoints map[string]types.Resource, into *cache.LinearCache) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var name string
		var port uint32
		if _, err := fmt.Sscan(lines.Text(), &name, &port); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		known, ok := endpoints[name].(*endpoint.ClusterLoadAssignment)
		if !ok {
			return fmt.Errorf("no endpoint %s", name)
		}
		moved := proto.Clone(known).(*endpoint.ClusterLoadAssignment)
		address := moved.GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress()
		address.PortSpecifier = &core.SocketAddress_PortValue{PortValue: port}
		if err := into.UpdateResource(name, moved); err != nil {
			return err
		}
	}
	return lines.Err()
}
