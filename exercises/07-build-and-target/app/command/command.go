// Package command shows what an external program prints.
package command

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Show runs a program and writes the command line, all that the program printed and, if it failed, why.
//
// A program that fails or does not exist is no failure of Show: it returns only errors of w.
func Show(w io.Writer, name string, args ...string) error {
	line := strings.Join(append([]string{name}, args...), " ")
	if _, err := fmt.Fprintf(w, "--- running external command...\n>>> %s\n\n", line); err != nil {
		return err
	}
	output, failure := exec.Command(name, args...).CombinedOutput()
	if _, err := w.Write(output); err != nil {
		return err
	}
	if failure != nil {
		_, err := fmt.Fprintf(w, "error: %v\n", failure)
		return err
	}
	return nil
}
