package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGreet(t *testing.T) {
	answer := httptest.NewRecorder()
	greet(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	if answer.Code != http.StatusOK {
		t.Errorf("status %d", answer.Code)
	}
	want := greeting + "\n--- running external command...\n>>> pkg-config --cflags python2\n\n"
	if body := answer.Body.String(); !strings.HasPrefix(body, want) {
		t.Errorf("got\n%s\nwant it to start with\n%s", body, want)
	}
}
