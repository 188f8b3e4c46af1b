// Command hello prints a greeting and what an external command says.
package main

import (
	"fmt"
	"log"
	"os"

	"example.org/learner/webapp/command"
)

const greeting = "hello learner!"

func main() {
	fmt.Println(greeting)
	if err := command.Show(os.Stdout, "pkg-config", "--cflags", "python2"); err != nil {
		log.Fatal(err)
	}
}
