package command

import (
	"errors"
	"strings"
	"testing"
)

func TestShow(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"success", []string{"echo", "-I/usr/include"}, ">>> echo -I/usr/include\n\n-I/usr/include\n"},
		{"failure", []string{"sh", "-c", "echo lost >&2; exit 1"}, "\n\nlost\nerror: exit status 1\n"},
		{"missing", []string{"no-such-program"}, "error: exec: \"no-such-program\": executable file not found in $PATH\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var shown strings.Builder
			if err := Show(&shown, test.args[0], test.args[1:]...); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(shown.String(), "--- running external command...\n>>> "+test.args[0]) {
				t.Errorf("no command line in front:\n%s", shown.String())
			}
			if !strings.HasSuffix(shown.String(), test.want) {
				t.Errorf("got\n%s\nwant it to end with\n%s", shown.String(), test.want)
			}
		})
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestShowReportsAFullWriter(t *testing.T) {
	if err := Show(full{}, "echo"); err == nil {
		t.Error("no error")
	}
}
