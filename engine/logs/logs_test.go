package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// at is a moment of the tests' own clock.
func at(second int) time.Time { return time.Unix(1_700_000_000+int64(second), 0) }

func open(t *testing.T, dir string, limits Limits) *Writer {
	t.Helper()
	w, err := Open(dir, limits, new(Scratch))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func add(t *testing.T, w *Writer, second int, s Stream, text string) {
	t.Helper()
	if err := w.Append(at(second), s, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// collect renders entries as "second stream begin data".
func collect(t *testing.T, dir string, o Options) []string {
	t.Helper()
	var got []string
	for e, err := range Read(t.Context(), dir, o) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, render(e))
	}
	return got
}

func render(e Entry) string {
	begin := "…"
	if e.Begin {
		begin = ""
	}
	return fmt.Sprintf("%d %s %s%s", e.Time.Unix()-at(0).Unix(), e.Stream, begin, e.Data)
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEntriesComeBackAsWritten(t *testing.T) {
	dir := t.TempDir() + "/logs"
	w := open(t, dir, Limits{})
	add(t, w, 1, Stdout, "one\ntwo\nth")
	add(t, w, 2, Stderr, "oops\n")
	add(t, w, 3, Stdout, "ree\n\n")
	expect(t, collect(t, dir, Options{}),
		"1 stdout one\n", "1 stdout two\n", "1 stdout th", "2 stderr oops\n", "3 stdout …ree\n", "3 stdout \n")
}

func TestLongLineComesInPieces(t *testing.T) {
	dir := t.TempDir()
	line := strings.Repeat("x", 3*MaxData+5) + "\n"
	add(t, open(t, dir, Limits{}), 1, Stdout, line)
	var all bytes.Buffer
	begins, ends := 0, 0
	for e, err := range Read(t.Context(), dir, Options{}) {
		if err != nil || len(e.Data) > MaxData {
			t.Fatalf("entry of %d bytes, %v", len(e.Data), err)
		}
		all.Write(e.Data)
		if e.Begin {
			begins++
		}
		if e.End() {
			ends++
		}
	}
	if all.String() != line || begins != 1 || ends != 1 {
		t.Errorf("%d bytes of %d, %d begins, %d ends", all.Len(), len(line), begins, ends)
	}
}

func TestNoLogsAreNoEntries(t *testing.T) {
	expect(t, collect(t, t.TempDir()+"/none", Options{}))
	expect(t, collect(t, t.TempDir()+"/none", Options{Tail: 5}))
	for _, err := range Read(t.Context(), t.TempDir()+"/none", Options{Follow: true}) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

func TestSinceAndUntil(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{})
	for i := range 6 {
		add(t, w, i, Stdout, "x\n")
	}
	expect(t, collect(t, dir, Options{Since: at(2), Until: at(4)}), "2 stdout x\n", "3 stdout x\n", "4 stdout x\n")
	expect(t, collect(t, dir, Options{Tail: 1, Until: at(2)}), "2 stdout x\n")
	expect(t, collect(t, dir, Options{Tail: 3, Since: at(4)}), "4 stdout x\n", "5 stdout x\n")
}

// TestUntilHoldsWhenTheClockIsSetBack: what was written later, with an earlier time, is wanted too.
func TestUntilHoldsWhenTheClockIsSetBack(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{})
	for _, i := range []int{1, 5, 2} {
		add(t, w, i, Stdout, "x\n")
		add(t, w, i, Stderr, "y\n")
	}
	want := []string{"1 stdout x\n", "1 stderr y\n", "2 stdout x\n", "2 stderr y\n"}
	expect(t, collect(t, dir, Options{Until: at(3)}), want...)
	expect(t, collect(t, dir, Options{Until: at(3), Follow: true}), want...)
	expect(t, collect(t, dir, Options{Until: at(3), Tail: 3}), want[1:]...)
}

func TestTailCountsLines(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{})
	add(t, w, 1, Stdout, "one\n")
	add(t, w, 2, Stdout, "tw")
	add(t, w, 3, Stderr, "err\n")
	add(t, w, 4, Stdout, "o\nend")
	end, two, err := "4 stdout end", []string{"2 stdout tw", "3 stderr err\n", "4 stdout …o\n"}, "3 stderr err\n"
	expect(t, collect(t, dir, Options{Tail: 1}), end)
	expect(t, collect(t, dir, Options{Tail: 2}), two[0], two[2], end) // without the other stream's line in between
	expect(t, collect(t, dir, Options{Tail: 3}), two[0], err, two[2], end)
	expect(t, collect(t, dir, Options{Tail: 9}), "1 stdout one\n", two[0], err, two[2], end)
	expect(t, collect(t, dir, Options{Tail: -1}))
}

// TestTailIsTheEndOfAll compares tail with reading everything, over rotation and records that cross blocks.
func TestTailIsTheEndOfAll(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{Size: 200 << 10, Files: 4})
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		add(t, w, i, Stdout, strings.Repeat("y", random.IntN(6000))+"\n")
	}
	all := collect(t, dir, Options{})
	for _, n := range []int{1, 2, 17, 100, len(all) - 1, len(all), len(all) + 1} {
		want := all[max(0, len(all)-n):]
		got := collect(t, dir, Options{Tail: n})
		if !slices.Equal(got, want) {
			t.Errorf("tail %d has %d entries", n, len(got))
		}
	}
}

func TestRotationIsBounded(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{Size: 1000, Files: 3})
	for i := range 500 {
		add(t, w, i, Stdout, "a line of some length\n")
	}
	numbers, err := segments(dir)
	if err != nil || len(numbers) != 3 {
		t.Fatalf("segments %v, %v", numbers, err)
	}
	for _, n := range numbers {
		info, err := os.Stat(segmentPath(dir, n))
		if err != nil || info.Size() > 1000 {
			t.Errorf("segment %d: %d bytes, %v", n, info.Size(), err)
		}
	}
	got := collect(t, dir, Options{})
	if len(got) < 50 || got[len(got)-1] != "499 stdout a line of some length\n" {
		t.Errorf("%d entries, last %q", len(got), got[len(got)-1])
	}
}

// TestTornTail cuts a log at every byte: what is whole before the cut stays, and what is appended after it follows.
func TestTornTail(t *testing.T) {
	whole := t.TempDir()
	w := open(t, whole, Limits{})
	add(t, w, 1, Stdout, "first\n")
	add(t, w, 2, Stderr, "second\n")
	b, err := os.ReadFile(segmentPath(whole, 1))
	if err != nil {
		t.Fatal(err)
	}
	first := overhead + len("first\n")
	for cut := range b {
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 1), b[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		var want []string
		if cut >= first {
			want = []string{"1 stdout first\n"}
		}
		expect(t, collect(t, dir, Options{}), want...)
		expect(t, collect(t, dir, Options{Tail: 5}), want...)
		add(t, open(t, dir, Limits{}), 3, Stdout, "third\n")
		expect(t, collect(t, dir, Options{}), append(want, "3 stdout third\n")...)
	}
}

// TestDamageInTheMiddle flips each byte of a record between two others: these are found.
func TestDamageInTheMiddle(t *testing.T) {
	b := appendRecord(nil, Entry{Time: at(1), Stream: Stdout, Begin: true, Data: []byte("a\n")})
	from := len(b)
	b = appendRecord(b, Entry{Time: at(2), Stream: Stdout, Begin: true, Data: []byte("b\n")})
	to := len(b)
	b = appendRecord(b, Entry{Time: at(3), Stream: Stdout, Begin: true, Data: []byte("c\n")})
	for i := from; i < to; i++ {
		dir := t.TempDir()
		damaged := bytes.Clone(b)
		damaged[i] ^= 0x55
		if err := os.WriteFile(segmentPath(dir, 1), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, collect(t, dir, Options{}), "1 stdout a\n", "3 stdout c\n")
		expect(t, collect(t, dir, Options{Tail: 9}), "1 stdout a\n", "3 stdout c\n")
	}
}

func TestFollowAcrossRotation(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{Size: 300, Files: 1000})
	done := make(chan struct{})
	written := make(chan error, 1)
	add(t, w, 0, Stdout, "line 0\n")
	n := 0
	for e, err := range Read(t.Context(), dir, Options{Follow: true, Done: done}) {
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 { // the reader is there: now write the rest beside it
			go func() { written <- writeLines(w, 1, 2000); close(done) }()
		}
		if want := fmt.Sprintf("line %d\n", n); string(e.Data) != want {
			t.Fatalf("got %q, want %q", e.Data, want)
		}
		n++
	}
	if err := <-written; err != nil || n != 2000 {
		t.Errorf("%d lines, %v", n, err)
	}
}

func writeLines(w *Writer, from, to int) error {
	for i := from; i < to; i++ {
		if err := w.Append(at(i), Stdout, fmt.Appendf(nil, "line %d\n", i)); err != nil {
			return err
		}
	}
	return nil
}

// TestReadGoesOnWhereItLeft reads a few lines at a time, over rotation and a writer that is opened again.
func TestReadGoesOnWhereItLeft(t *testing.T) {
	dir := t.TempDir()
	var from Position
	read, dropped := 0, uint64(0)
	for round := range 40 {
		w := open(t, dir, Limits{Size: 300, Files: 3})
		if err := writeLines(w, round*25, round*25+25); err != nil {
			t.Fatal(err)
		}
		for e, err := range Read(t.Context(), dir, Options{From: from}) {
			if err != nil {
				t.Fatal(err)
			}
			dropped += e.Dropped
			if want := fmt.Sprintf("line %d\n", read+int(dropped)); string(e.Data) != want {
				t.Fatalf("after %d lines, %d of them dropped, comes %q, want %q", read, dropped, e.Data, want)
			}
			read, from = read+1, e.Next
			if read%7 == 0 && round < 39 {
				break
			}
		}
	}
	if read+int(dropped) != 1000 || dropped == 0 || from.Lines != 1000 {
		t.Fatalf("%d lines were read, %d dropped, at %+v", read, dropped, from)
	}
}

// TestAPositionThatAPowerCutLeftBehindTheEnd: what is written next is read.
func TestAPositionThatAPowerCutLeftBehindTheEnd(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{})
	add(t, w, 1, Stdout, "old\n")
	from := Position{Segment: 1, Offset: 5000, Lines: 7}
	expect(t, collect(t, dir, Options{From: from}))
	from.Offset = w.size
	add(t, w, 2, Stdout, "new\n")
	expect(t, collect(t, dir, Options{From: from}), "2 stdout new\n")
}

func TestFollowEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{})
	add(t, w, 1, Stdout, "old\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for e, err := range Read(ctx, dir, Options{Follow: true}) {
		if err == nil && string(e.Data) == "old\n" {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Error(last)
	}
}

func TestFollowNewLinesOnly(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Limits{})
	add(t, w, 1, Stdout, "old\n")
	done := make(chan struct{})
	close(done)
	expect(t, collect(t, dir, Options{Tail: -1, Follow: true, Done: done}))
	add(t, w, 2, Stdout, "new\n")
	expect(t, collect(t, dir, Options{Tail: 1, Follow: true, Done: done}), "2 stdout new\n")
}

// Hundreds follow with one inotify instance, of which a user may have 128.
func TestManyFollowWithOneWatcher(t *testing.T) {
	const many = 300
	var w Watcher
	var following sync.WaitGroup
	for i := range many {
		dir := t.TempDir()
		log := open(t, dir, Limits{})
		done := make(chan struct{})
		options := Options{Follow: true, Done: done, Watcher: &w}
		begun := make(chan struct{})
		add(t, log, 1, Stdout, "old\n")
		following.Go(func() {
			var got int
			for e, err := range Read(t.Context(), dir, options) {
				if err != nil {
					t.Error(err)
				}
				if got++; got == 1 {
					close(begun)
				}
				if string(e.Data) == "new\n" {
					close(done)
				}
			}
			if got != 2 {
				t.Errorf("follower %d got %d entries, want 2", i, got)
			}
		})
		<-begun
		add(t, log, 2, Stdout, "new\n")
	}
	following.Wait()
	if len(w.folders) != 0 {
		t.Errorf("%d folders are still watched", len(w.folders))
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for _, err := range Read(t.Context(), t.TempDir(), Options{Follow: true, Watcher: &w, Done: closed()}) { // and again
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestFollowEndsWithTheFolder: a removed container's logs do not keep a reader for ever.
func TestFollowEndsWithTheFolder(t *testing.T) {
	dir := t.TempDir() + "/logs"
	add(t, open(t, dir, Limits{}), 1, Stdout, "old\n")
	for _, err := range Read(t.Context(), dir, Options{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDiskLosesWholeEntries(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	dir := smallDisk(t, 64<<10)
	w := open(t, dir, Limits{})
	var failed error
	for i := 0; failed == nil; i++ {
		failed = w.Append(at(i), Stdout, bytes.Repeat([]byte("z"), 5000))
	}
	before := len(collect(t, dir, Options{}))
	if err := os.Remove(dir + "/ballast"); err != nil {
		t.Fatal(err)
	}
	add(t, w, 99, Stdout, "room again\n")
	got := collect(t, dir, Options{})
	if len(got) != before+1 || got[before] != "99 stdout …room again\n" {
		t.Errorf("%d entries before, then %d, last %q", before, len(got), got[len(got)-1][:20])
	}
}

func BenchmarkAppendLine(b *testing.B) {
	w := benchmarkWriter(b)
	line := []byte(strings.Repeat("l", 99) + "\n")
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if err := w.Append(at(1), Stdout, line); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendBurst appends what a busy pipe gives at once: 32 KiB of lines.
func BenchmarkAppendBurst(b *testing.B) {
	w := benchmarkWriter(b)
	burst := bytes.Repeat([]byte(strings.Repeat("l", 99)+"\n"), 327)
	b.SetBytes(int64(len(burst)))
	for b.Loop() {
		if err := w.Append(at(1), Stdout, burst); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/327, "ns/line")
}

func benchmarkWriter(b *testing.B) *Writer {
	w, err := Open(b.TempDir(), Limits{}, new(Scratch))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.Close() })
	b.ReportAllocs()
	return w
}

func BenchmarkTail(b *testing.B) {
	w := benchmarkWriter(b)
	if err := writeLines(w, 0, 300_000); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		for _, err := range Read(b.Context(), w.dir, Options{Tail: 20}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 20 {
			b.Fatal(n)
		}
	}
}

// TestEnd: from the end on there is what comes next, and nothing else.
func TestEnd(t *testing.T) {
	dir := t.TempDir()
	end := func() Position {
		p, err := End(dir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := end()
	w := open(t, dir, Limits{})
	add(t, w, 1, Stdout, "one\n")
	expect(t, collect(t, dir, Options{From: before}), "1 stdout one\n")
	middle := end()
	add(t, w, 2, Stderr, "two\n")
	expect(t, collect(t, dir, Options{From: middle}), "2 stderr two\n")
	expect(t, collect(t, dir, Options{From: end()}))
}
