// Command web-app is a web server that greets and shows what an external command says.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.org/learner/webapp/command"
)

const greeting = "hello learner!"

func main() {
	// The first process of a container gets SIGTERM from `docker stop`, and ten seconds to end.
	stopped, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer forget()

	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(greet)}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		<-stopped.Done()
		log.Print("stopping")
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			log.Print(err)
		}
	}()

	log.Print("listening on: http://localhost:8080")
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-finished
}

// greet answers every request with the greeting and the output of pkg-config.
func greet(w http.ResponseWriter, r *http.Request) {
	log.Printf("%s %s", r.Method, r.URL.Path)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, greeting)
	if err := command.Show(w, "pkg-config", "--cflags", "python2"); err != nil {
		log.Print(err)
	}
}
