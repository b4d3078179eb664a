// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package service

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
)

func TestJournaldGetsTheLevelBeforeTheLine(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(LogSettings{Level: slog.LevelDebug}.journald(&out)).With("a", 1)
	log.Debug("d")
	log.Info("i")
	log.Warn("w")
	log.WithGroup("g").Error("e", "b", 2)
	want := "<7>level=DEBUG msg=d a=1\n<6>level=INFO msg=i a=1\n<4>level=WARN msg=w a=1\n<3>level=ERROR msg=e a=1 g.b=2\n"
	if out.String() != want {
		t.Errorf("%s, want %s", out.String(), want)
	}
}

func TestStderrIsTheJournalOnlyWhereTheVariableNamesIt(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	sys := st.Sys().(*syscall.Stat_t)
	if !leadsTo(f, fmt.Sprintf("%d:%d", sys.Dev, sys.Ino)) || leadsTo(f, "1:2") || leadsTo(f, "") {
		t.Error("wrong")
	}
}
