// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// heardBy runs ears until the test ends.
func heardBy(t *testing.T, e *Ears) *Ears {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan bool)
	go func() { defer close(ended); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return e
}

// mountAt mounts a file system until the test ends.
func mountAt(t *testing.T, source, at, kind string, flags uintptr, data string) {
	t.Helper()
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, at, kind, flags, data); err != nil {
		t.Fatalf("mount %s at %s: %v", kind, at, err)
	}
	t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) }) // it may be gone already
}

// sweptSoFar returns how many doubts were swept.
func (r *receiver) sweptSoFar() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.swept
}

// waiting returns how many bytes of events wait in the kernel's queue.
func (x *ear) waiting(t *testing.T) (n int) {
	t.Helper()
	raw, err := x.file.SyscallConn()
	if err == nil {
		failed := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		err = errors.Join(failed, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An ear that was handed over is emptied also while no tree listens, as while the state
// cannot be opened: the kernel's queue has no bound.
func TestEarWithoutListeners(t *testing.T) {
	able(t, "fanotify")
	path := t.TempDir()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	f, err := OpenEar(dir)
	if err != nil {
		t.Fatal(err)
	}
	ears := NewEars(map[uint64]*os.File{1: f})
	for i := range 1000 {
		write(t, filepath.Join(path, fmt.Sprint(i)), "x")
	}
	x := ears.only(t)
	if x.waiting(t) == 0 {
		t.Error("nothing was heard")
	}
	heardBy(t, ears)
	eventually(t, "the kernel's queue is empty", func() bool { return x.waiting(t) == 0 })
}

// While the one who tells the trees stands still, the kernel's queue is emptied into ours,
// and nothing is lost: no sweep is needed.
func TestEarKeepsWhatCannotBeToldYet(t *testing.T) {
	able(t, "fanotify")
	// In memory: what is asked is how the events come, not how the disk does.
	dir, err := os.MkdirTemp("/dev/shm", "certpush-")
	if err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tree := Tree{Name: "t", Path: dir, Engine: "fanotify"}
	r := receive(t, tree)
	eventually(t, "the first sweep", r.idle)
	n := 20_000 // the kernel's usual queue holds 16,384 events
	if os.Getenv("SOAK") != "" {
		n = 100_000
	}
	swept := r.sweptSoFar()
	a := r.w.trees[0].watches
	a.mu.Lock()
	for i := range n {
		if i%1000 == 0 {
			write(t, filepath.Join(tree.Path, fmt.Sprint(i/1000), fmt.Sprint(i)), "x")
		} else if err := os.WriteFile(filepath.Join(tree.Path, fmt.Sprint(i/1000), fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the kernel's queue is empty", func() bool { return r.w.ears.only(t).waiting(t) == 0 })
	a.mu.Unlock()
	eventually(t, "all files", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.index) == n
	})
	if s := r.w.State()[0]; s.Lost != 0 || r.sweptSoFar() != swept {
		t.Errorf("lost %d times, %d sweeps", s.Lost, r.sweptSoFar()-swept)
	}
}

// More than an ear may hold: each tree on the file system is swept, and then goes on by
// events, also where a folder was renamed meanwhile.
func TestEarOverflows(t *testing.T) {
	able(t, "fanotify")
	dir := t.TempDir()
	one, two := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	for _, tree := range []string{one, two} {
		write(t, filepath.Join(tree, "d", "f"), "x")
	}
	r := receive(t, Tree{Name: "1", Path: one, Engine: "fanotify"}, Tree{Name: "2", Path: two, Engine: "fanotify"})
	r.upToDate(t, one)
	early := filepath.Join(two, "d", "early") // so that the folder's path is known
	write(t, early, "x")
	eventually(t, "a file", func() bool { return r.has(early) })
	x := r.w.ears.only(t)
	room := func(most int) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.most = most
	}
	room(0)
	write(t, filepath.Join(one, "d", "missed"), "x")
	if err := os.Rename(filepath.Join(two, "d"), filepath.Join(two, "e")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(one, "d", "missed"), filepath.Join(two, "e", "f")} {
		eventually(t, path, func() bool { return r.has(path) })
	}
	room(earMost)
	r.upToDate(t, two) // the last of what was dropped lies before its event
	for i, s := range r.w.State() {
		if s.Lost == 0 {
			t.Errorf("tree %d: nothing counted as lost", i)
		}
	}
	swept := r.sweptSoFar()
	late := filepath.Join(two, "e", "late")
	write(t, late, "x")
	eventually(t, "a file by its event", func() bool { return r.has(late) })
	if r.sweptSoFar() != swept {
		t.Error("a sweep found it")
	}
}

// What waits in an ear takes about as much memory as it may have bytes, also if each read
// brings one event.
func TestEarIsBounded(t *testing.T) {
	x := newEar(nil, 0, false, 8<<20)
	x.listening.Add(1)
	for !x.missed {
		x.put(make([]byte, 56))
	}
	took, told := cap(x.queue)*24, 0
	for _, events := range x.queue {
		took += cap(events)
	}
	if took > x.most*5/4 {
		t.Errorf("%d bytes wait and take %d", x.size, took)
	}
	for _, some, _ := x.next(); some; _, some, _ = x.next() {
		told++
	}
	if x.size != 0 || x.missed || told > 100 {
		t.Errorf("%d bytes are left, %d pieces, missed %t", x.size, told, x.missed)
	}
}

// only returns the ear, if there is one.
func (e *Ears) only(t *testing.T) *ear {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.all) != 1 {
		t.Fatalf("%d ears for one file system", len(e.all))
	}
	for _, x := range e.all {
		return x
	}
	return nil
}

// An ear that the system ends is replaced, also one that was handed over, and the tree is
// swept.
func TestEarThatFails(t *testing.T) {
	able(t, "fanotify")
	path := t.TempDir()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	f, err := OpenEar(dir)
	if err != nil {
		t.Fatal(err)
	}
	st, err := Fstat(dir)
	if err != nil {
		t.Fatal(err)
	}
	ears := NewEars(map[uint64]*os.File{st.Dev: f})
	r := receiveBy(t, heardBy(t, ears), Tree{Name: "t", Path: path, Engine: "fanotify"})
	r.upToDate(t, path)
	was := ears.only(t)
	if was.file != f {
		t.Error("what was handed over is not used")
	}
	if err := f.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another ear", func() bool { return ears.only(t) != was && r.doubted(WhyArmed) })
	r.upToDate(t, path)
	if s := r.w.State()[0]; s.Engine != "fanotify" || s.Lost != 0 {
		t.Errorf("state %+v", s)
	}
}

// While the worker of one ear waits for its disk, a tree on another file system is left,
// heard anew and asked after.
func TestAnEarThatHangsHoldsUpNoOther(t *testing.T) {
	able(t, "fanotify")
	one := t.TempDir()
	two, err := os.MkdirTemp("/dev/shm", "certpush-")
	if err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(two) })
	ears := heardBy(t, NewEars(nil))
	hear := func(path string) *fanotify {
		s := &fanotify{ears: ears, event: func(fsnotify.Event) {}, trouble: func(error) {}, closed: make(chan struct{})}
		if err := s.listen(path); err != nil {
			t.Error(err)
		}
		return s
	}
	hangs := hear(one)
	x := ears.only(t)
	other := hear(two)
	x.telling.Lock()
	left := make(chan struct{})
	go func() { // a tree there is left, and waits
		_ = hangs.Close()
		close(left)
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if other.unmounted() || hangs.unmounted() {
			t.Error("it seems to be unmounted")
		}
		_ = other.Close()
		_ = hear(two).Close()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("it waits for another file system")
	}
	x.telling.Unlock()
	<-left
	<-done
}

// A tree whose path, as the system spells it, is another one than before is heard anew,
// although its own path leads to the same folder.
func TestStrayed(t *testing.T) {
	able(t, "fanotify")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "t", "f"), "x")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("a", link); err != nil {
		t.Fatal(err)
	}
	s := &fanotify{ears: heardBy(t, NewEars(nil)), event: func(fsnotify.Event) {}, trouble: func(error) {}}
	if err := s.listen(filepath.Join(link, "t")); err != nil {
		t.Fatal(err)
	}
	if s.strayed() {
		t.Error("strayed from the start")
	}
	if err := errors.Join(os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")), os.Remove(link), os.Symlink("b", link)); err != nil {
		t.Fatal(err)
	}
	if !s.strayed() {
		t.Error("another path is not seen")
	}
}

// An unmount ends the mark of an ear, and nothing keeps the file system from it.
func TestEarOfWhatIsUnmounted(t *testing.T) {
	able(t, "fanotify")
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	at := filepath.Join(t.TempDir(), "at")
	mountAt(t, "none", at, "tmpfs", 0, "")
	dir, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenEar(dir)
	dir.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x := newEar(f, 0, false, earMost)
	if !x.alive() {
		t.Error("its mark is not seen")
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	if x.alive() {
		t.Error("it seems to hear what is unmounted")
	}
}

// What is to be done depends on why a tree cannot be heard: another file system is no help
// where the kernel is too old.
func TestWhatToDoWithoutFanotify(t *testing.T) {
	for err, want := range map[error]string{
		errNoEar:        "certpush service dropin",
		unix.EPERM:      "certpush service dropin",
		unix.EXDEV:      "btrfs",
		unix.ENOSYS:     "Linux 5.9",
		unix.EINVAL:     "Linux 5.9",
		unix.EMFILE:     "fs.fanotify.max_user_groups",
		unix.EOPNOTSUPP: "such as ext4 or xfs",
	} {
		if next := fanotifyNext(fmt.Errorf("open fanotify: %w", err)); !strings.Contains(next, want) {
			t.Errorf("%v: %q does not name %q", err, next, want)
		}
	}
}

// An event whose folder cannot be found is a doubt, and nobody is sent to a limit of inotify.
func TestEarThatFindsNoFolder(t *testing.T) {
	able(t, "fanotify")
	dir := t.TempDir()
	var told []error
	s := &fanotify{ears: NewEars(nil), event: func(fsnotify.Event) {}, trouble: func(err error) { told = append(told, err) }, closed: make(chan struct{})}
	if err := s.listen(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	full := toldByEar(unix.FAN_Q_OVERFLOW, "", "")[:eventHead]
	binary.NativeEndian.PutUint32(full, eventHead)
	s.heard[0].hear(toldByEar(unix.FAN_CREATE, strings.Repeat("x", 129), "f")) // no handle is that long
	s.heard[0].hear(full)
	for _, err := range told {
		if !errors.Is(err, errUnplaced) || errors.Is(err, fsnotify.ErrEventOverflow) {
			t.Errorf("told %v", err)
		}
	}
	if len(told) != 2 {
		t.Errorf("told %v", told)
	}
}

// What a view remembers of folders is bounded.
func TestViewForgets(t *testing.T) {
	v := &view{known: map[string]where{}}
	for i := range 20_000 {
		v.remember(fmt.Append(nil, i), where{path: strings.Repeat("x", 4000)})
	}
	sum := 0
	for _, at := range v.known {
		sum += knownOne + len(at.path)
	}
	if sum != v.size || sum > knownMost || len(v.known) < 1000 {
		t.Errorf("%d folders take %d bytes, noted are %d", len(v.known), sum, v.size)
	}
}

// A tree that is a bind mount hears what is written below its source, and not what is
// written beside that. What is mounted below a tree is heard too.
func TestEarsAndMounts(t *testing.T) {
	able(t, "fanotify")
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source, tree := filepath.Join(dir, "source"), filepath.Join(dir, "tree")
	write(t, filepath.Join(source, "in", "f"), "x")
	write(t, filepath.Join(source, "beside", "f"), "x")
	mountAt(t, filepath.Join(source, "in"), tree, "", unix.MS_BIND, "")
	mountAt(t, "none", filepath.Join(tree, "below"), "tmpfs", 0, "")
	r := receive(t, Tree{Name: "t", Path: tree, Engine: "fanotify"})
	r.upToDate(t, tree)
	swept := r.sweptSoFar()
	write(t, filepath.Join(source, "beside", "late"), "x")
	write(t, filepath.Join(source, "in", "d", "late"), "x")
	write(t, filepath.Join(tree, "below", "d", "late"), "x")
	for _, path := range []string{"d/late", "below/d/late"} {
		eventually(t, path, func() bool { return r.has(filepath.Join(tree, path)) })
	}
	if r.sweptSoFar() != swept {
		t.Error("a sweep found them")
	}
	r.upToDate(t, tree)
	r.mu.Lock()
	for path := range r.index {
		if !Within(tree, path) {
			t.Errorf("%s is in no tree", path)
		}
	}
	r.mu.Unlock()

	// The file system goes, and its ear with it; another one comes, and is heard.
	if err := unix.Unmount(filepath.Join(tree, "below"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its ear is gone", func() bool {
		r.w.ears.mu.Lock()
		defer r.w.ears.mu.Unlock()
		return len(r.w.ears.all) == 1
	})
	mountAt(t, "none", filepath.Join(tree, "below"), "tmpfs", 0, "")
	eventually(t, "another ear", func() bool {
		r.w.ears.mu.Lock()
		defer r.w.ears.mu.Unlock()
		return len(r.w.ears.all) == 2
	})
	again := filepath.Join(tree, "below", "again")
	write(t, again, "x")
	eventually(t, "a file there", func() bool { return r.has(again) })
}

// A file system that cannot be heard as a whole is watched by inotify, and it is said why.
// Where it is mounted below the tree it is swept, and named.
func TestEarsThatCannotBe(t *testing.T) {
	able(t, "fanotify")
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lone := filepath.Join(dir, "lone")
	mountAt(t, "overlay", lone, "overlay", 0, fmt.Sprintf("lowerdir=%s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir))
	r := receive(t, Tree{Name: "t", Path: lone, Engine: "fanotify"})
	path := filepath.Join(lone, "d", "f")
	write(t, path, "x")
	eventually(t, "the file", func() bool { return r.has(path) })
	if s := r.w.State()[0]; s.Engine != "inotify" || s.Instead == nil || !strings.Contains(s.Instead.Error(), "leave this tree to inotify") {
		t.Errorf("state %+v", s)
	}
	above := filepath.Join(dir, "above")
	mountAt(t, lone, filepath.Join(above, "below"), "", unix.MS_BIND, "")
	r = receive(t, Tree{Name: "t", Path: above, Engine: "fanotify"})
	r.upToDate(t, above)
	s := r.w.State()[0]
	if s.Engine != "fanotify" || s.Unwatched != 1 || len(s.Troubles) != 1 || s.Troubles[0].Path != filepath.Join(above, "below") {
		t.Errorf("state %+v", s)
	}
	if scopes, limit := r.w.trees[0].watches.lacking(); limit || len(scopes) != 1 || scopes[0] != filepath.Join(above, "below") {
		t.Errorf("to be swept: %q, limit %t", scopes, limit)
	}
}

// A mount below a tree whose server does not answer keeps nobody from hearing the tree.
func TestAMountThatHangsBelowATree(t *testing.T) {
	able(t, "fanotify")
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	tree, hangs := filepath.Join(dir, "t"), filepath.Join(dir, "t", "hangs")
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	mountAt(t, "none", hangs, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server.Fd()))
	t.Cleanup(func() { server.Close() }) // whoever waits for it is let go
	heard := make(chan error, 1)
	ears := heardBy(t, NewEars(nil))
	go func() {
		w, err := New(Config{Trees: filled(Tree{Name: "t", Path: tree, Engine: "fanotify"}), Ears: ears})
		if err == nil {
			var s source
			if s, err = newFanotify(w.trees[0]); err == nil {
				_, err = s.(whole).hears(hangs)
				_ = s.Close()
			}
		}
		heard <- err
	}()
	select {
	case err := <-heard:
		if !errors.Is(err, errFar) {
			t.Errorf("what hangs: %v", err)
		}
	case <-time.After(patience):
		server.Close()
		t.Errorf("it waits for the server: %v", <-heard)
	}
}

// A tree is heard also where a link leads to it, and after folders above it were renamed.
func TestEarsFollowTheTree(t *testing.T) {
	able(t, "fanotify")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "t", "d", "f"), "x")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "a"), link); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(link, "t")
	r := receive(t, Tree{Name: "t", Path: tree, Engine: "fanotify"})
	r.upToDate(t, tree)
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "b"), link+"2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"2", link); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is heard anew", func() bool { return r.doubted(WhyArmed) })
	r.upToDate(t, tree)
	swept := r.sweptSoFar()
	late := filepath.Join(tree, "d", "late")
	write(t, late, "x")
	eventually(t, "a file", func() bool { return r.has(late) })
	if r.sweptSoFar() != swept {
		t.Error("a sweep found it")
	}
}

// While a folder above the tree has another name for a moment, the events of the tree have
// a path in no tree. It is swept when that folder is back, also before anybody looks.
func TestAFolderAboveTheTreeIsAwayForAMoment(t *testing.T) {
	able(t, "fanotify")
	dir := t.TempDir()
	above, away := filepath.Join(dir, "a"), filepath.Join(dir, "away")
	tree, other := filepath.Join(above, "b", "t"), filepath.Join(dir, "other")
	write(t, filepath.Join(tree, "d", "f"), "x")
	write(t, filepath.Join(other, "f"), "x")
	// By the door of the other tree the paths of folders are found all the while.
	r := receive(t, Tree{Name: "other", Path: other, Engine: "fanotify"}, Tree{Name: "t", Path: tree, Engine: "fanotify"})
	r.upToDate(t, tree)
	if err := os.Rename(above, away); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(away, "b", "t", "d", "missed"), "x")
	barrier := filepath.Join(other, "barrier")
	write(t, barrier, "x")
	eventually(t, "the events so far", func() bool { return r.has(barrier) })
	if err := os.Rename(away, above); err != nil {
		t.Fatal(err)
	}
	missed := filepath.Join(tree, "d", "missed")
	eventually(t, "the file", func() bool { return r.has(missed) })
}

// A process with the right to open handles alone hears by an ear that it was handed. What
// it was not handed is watched by inotify.
func TestHandedEar(t *testing.T) {
	const inside = "CERTPUSH_TEST_HANDED_EAR"
	if dir := os.Getenv(inside); dir != "" {
		st, err := Lstat(dir)
		if err != nil {
			t.Fatal(err)
		}
		ears := NewEars(map[uint64]*os.File{st.Dev: os.NewFile(3, "ear")})
		r := receiveBy(t, heardBy(t, ears), Tree{Name: "t", Path: dir, Engine: "fanotify"}, Tree{Name: "other", Path: "/dev/shm", Engine: "fanotify", Exclude: []string{"**"}})
		r.upToDate(t, dir)
		path := filepath.Join(dir, "d", "e", "f")
		write(t, path, "x")
		eventually(t, "the file", func() bool { return r.has(path) })
		all := r.w.State()
		if all[0].Engine != "fanotify" || all[1].Engine != "inotify" || !errors.Is(all[1].Instead, errNoEar) {
			t.Errorf("state %+v", all)
		}
		return
	}
	able(t, "fanotify")
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ear, err := OpenEar(f)
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	// The program lies where only root may look.
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "test")
	if err := errors.Join(os.Chmod(filepath.Dir(copied), 0o755), os.WriteFile(copied, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.run=^TestHandedEar$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+dir, "CI=")
	cmd.ExtraFiles = []*os.File{ear}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: []uintptr{unix.CAP_DAC_READ_SEARCH}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}
