// Command ociserver serves an empty registry in memory on a free loopback port: CUE's ociserver, which has the
// referrers API. It writes "listening on HOST:PORT", then a line for each request: its method and its path.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime/debug"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

func main() {
	version := flag.Bool("version", false, "print the versions of the modules and end")
	flag.Parse()
	if *version {
		printVersions()
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	registry := ociserver.New(ocimem.New(), nil)
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Print(r.Method, " ", r.URL)
		registry.ServeHTTP(w, r)
	})))
}

func printVersions() {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		fmt.Println(module.Path, module.Version)
	}
}
