// A web server in plain Go: net/http, on the listener that the pod's port is.
//
// Preview 1 has no bind. wasmpod makes every containerPort a listening descriptor, the first of
// them 3, as sd_listen_fds(3) says.
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// The descriptor of the first containerPort.
const listener = 3

func main() {
	log.SetFlags(0)
	if os.Getenv("LISTEN_FDS") == "" {
		log.Fatal("no listening socket: does the manifest have a containerPort?")
	}
	// Else an accept holds up every goroutine, as there is one thread only.
	if err := syscall.SetNonblock(listener, true); err != nil {
		log.Fatal(err)
	}
	port, err := net.FileListener(os.NewFile(listener, "http"))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /hello/{name}", hello)
	http.HandleFunc("GET /files", files)
	http.Handle("GET /files/", http.StripPrefix("/files/", http.FileServerFS(os.DirFS("/data"))))
	log.Print("serving")
	log.Fatal(http.Serve(port, nil))
}

// Requests are goroutines: a slow one holds up nobody.
func hello(w http.ResponseWriter, r *http.Request) {
	log.Printf("hello %s", r.PathValue("name"))
	if wait, err := time.ParseDuration(r.FormValue("wait")); err == nil {
		time.Sleep(wait)
	}
	fmt.Fprintf(w, "Hello, %s!\n", r.PathValue("name"))
}

// The files of the volume and their sizes, as JSON. They are links to those that are valid now,
// which lie beside them under names that begin with two dots.
func files(w http.ResponseWriter, _ *http.Request) {
	sizes := map[string]int64{}
	volume := os.DirFS("/data")
	links, err := fs.Glob(volume, "[^.]*")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, link := range links {
		if about, err := fs.Stat(volume, link); err == nil {
			sizes[link] = about.Size()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(sizes)
}
