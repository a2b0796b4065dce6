// Package book is what the guestbook's two services say to each other, as JSON: GET /entries answers a list of
// entries, newest first; POST /entries takes a Draft and answers the Entry that it became.
package book

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Draft is what a guest writes.
type Draft struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Entry is a draft that was kept.
type Entry struct {
	Draft
	At time.Time `json:"at"`
}

// The longest that a guest may write, in characters.
const (
	MaxName = 40
	MaxText = 280
)

// Clean trims the draft and says what is wrong with it, in words for the guest.
func (d Draft) Clean() (Draft, error) {
	d.Name, d.Text = strings.TrimSpace(d.Name), strings.TrimSpace(d.Text)
	switch {
	case d.Text == "":
		return d, fmt.Errorf("write something first")
	case utf8.RuneCountInString(d.Text) > MaxText:
		return d, fmt.Errorf("that is longer than %d characters", MaxText)
	case utf8.RuneCountInString(d.Name) > MaxName:
		return d, fmt.Errorf("the name is longer than %d characters", MaxName)
	}
	if d.Name == "" {
		d.Name = "Someone"
	}
	return d, nil
}
