// SPDX-License-Identifier: Apache-2.0

// Command certpush sees to it that a file dropped in a watched tree reaches the
// scanner: soon, once, and never lost.
//
// This file is the command line, its verbs and flags, and nothing else.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certpush/certpush/installer"
	"github.com/certpush/certpush/service"
)

// version is set by the linker in a release: -X main.version=1.2.3.
var version string

func main() {
	err, told := execute(os.Args[1:]), (*service.ToldError)(nil)
	if err != nil && !errors.As(err, &told) && !errors.Is(err, service.ErrMalicious) {
		fmt.Fprintln(os.Stderr, "certpush:", err)
	}
	os.Exit(service.Code(err))
}

// execute runs one command line. What goes wrong before a verb's work begins is
// a mistake in its use.
func execute(args []string) error {
	begun := false
	root := rootCommand()
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	root.SetArgs(args)
	err := root.Execute()
	if err == nil || begun {
		return err
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if near := root.SuggestionsFor(first(args)); len(near) > 0 && strings.HasSuffix(text, ` for "certpush"`) {
		return service.Usage(fmt.Errorf("%s: did you mean `certpush %s`?", text, near[0]))
	}
	return service.Usage(fmt.Errorf("%s: see `certpush help`", text))
}

func first(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "certpush", Short: "push each file dropped in a watched tree to the scanners: soon, once, never lost",
		SilenceUsage: true, SilenceErrors: true, DisableSuggestions: true, SuggestionsMinimumDistance: 2,
		Long: "certpush pushes each file dropped in a watched tree to the scanners: soon, once, never lost.\n\n" +
			"Exit codes: 0; 1 run time; 2 scan: something was malicious; 64 usage; 69 scanner unreachable;\n" +
			"75 another process holds the state folder; 77 permission; 78 configuration.",
	}
	root.AddCommand(runVerb(), watchVerb(), pushVerb(), checkVerb(), scanVerb(), statusVerb(), sweepVerb(), reloadVerb(), serviceVerb(), versionVerb())
	return root
}

func printVersion(cmd *cobra.Command, asJSON bool) error {
	info := map[string]string{"version": buildVersion(), "go": runtime.Version(), "system": runtime.GOOS + "/" + runtime.GOARCH}
	if !asJSON {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "certpush %s (%s, %s)\n", info["version"], info["go"], info["system"])
		return err
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(info)
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// asked is a context that ends when the user interrupts.
func asked() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt)
}

func serviceVerb() *cobra.Command {
	var f service.Flags
	group := &cobra.Command{Use: "service", Short: "what the service manager needs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	dropin := &cobra.Command{
		Use: "dropin", Short: "print the systemd drop-in that the configuration needs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := service.Load(f)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), installer.DropIn(needs(s)))
			return err
		},
	}
	fileFlag(dropin, &f)
	group.AddCommand(dropin)
	return group
}

// needs lists what the unit must let through for s.
func needs(s service.Settings) installer.Needs {
	var n installer.Needs
	for _, t := range s.Pipeline.Trees {
		n.Trees = append(n.Trees, t.Path)
	}
	for _, c := range s.Pipeline.Scanners {
		for _, a := range c.Addresses {
			if socket, is := strings.CutPrefix(a, "unix:"); is {
				n.Sockets = append(n.Sockets, socket)
			}
		}
	}
	return n
}
