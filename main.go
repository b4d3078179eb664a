// SPDX-License-Identifier: Apache-2.0

// Command certpush hands each file that is dropped in a watched tree to the scanner:
// soon, once, and never lost.
//
// This package is the command line, its verbs and flags, and nothing else.
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
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/certpush/certpush/service"
)

// version is set by the linker of a release: -X main.version=1.2.3.
var version string

func main() {
	err, told := execute(os.Args[1:]), (*service.ToldError)(nil)
	if err != nil && !errors.As(err, &told) && !errors.Is(err, service.ErrMalicious) {
		service.Complain(err)
	}
	os.Exit(service.Code(err))
}

// execute runs one command line. An error before the verb's work begins is a mistake on
// the command line: it is a usage error, with advice.
func execute(args []string) error {
	begun := false
	root := rootCommand()
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		err := named(cmd)
		begun = err == nil
		return err
	}
	root.SetArgs(args)
	at, err := root.ExecuteC()
	if err == nil || begun {
		return err
	}
	return service.Usage(advised(at, args, err))
}

// named refuses flags with an empty value, as when a variable of a script is not set:
// they would be ignored.
func named(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.String() == "" {
			err = fmt.Errorf("-%s names nothing", f.Shorthand)
		}
	})
	return err
}

// advised adds to err, a mistake on the command line, what to do about it. at is the verb
// of the command line.
func advised(at *cobra.Command, args []string, err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedName() == "b":
		return errors.New("-b is not known any more, for the service manager runs certpush in the background: use `certpush service start`")
	case errors.As(err, &value) && value.GetFlag().Value.Type() == "int":
		return fmt.Errorf("-%s: %q is not a whole number: write for example -%[1]s 4", value.GetFlag().Shorthand, value.GetValue())
	case strings.HasPrefix(text, "unknown command"):
		if near := nearest(at, args); near != "" {
			return fmt.Errorf("%s: did you mean `certpush %s`?", text, near)
		}
	}
	return fmt.Errorf("%s: see `%s --help`", text, at.CommandPath())
}

// nearest returns the verb that was meant: one that begins with the typed word, or
// otherwise one that differs in few letters. It returns "" if there is none.
func nearest(root *cobra.Command, args []string) string {
	i := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return ""
	}
	near := root.SuggestionsFor(args[i])
	for _, name := range near {
		if strings.HasPrefix(name, args[i]) {
			return name
		}
	}
	return first(near)
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "certpush", Short: "push each file dropped in a watched tree to the scanners: soon, once, never lost",
		SilenceUsage: true, SilenceErrors: true, DisableSuggestions: true, SuggestionsMinimumDistance: 2,
		Long: "certpush pushes each file dropped in a watched tree to the scanners: soon, once, never lost.\n\n" +
			"Exit codes: 0; 1 run time; 2 scan: something was malicious; 64 usage; 69 scanner unreachable;\n" +
			"75 another process holds the state folder; 77 permission; 78 configuration.",
	}
	root.AddCommand(runVerb(), watchVerb(), pushVerb(), checkVerb(), scanVerb(), statusVerb(), reloadVerb(), pauseVerb(), resumeVerb(),
		verifyVerb(), sweepVerb(), deadVerb(), whyVerb(), scannerVerb(), serviceVerb(), earsVerb(), versionVerb(), completionVerb())
	root.SetHelpCommand(helpVerb())
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

// asked returns a context that ends when the user interrupts.
func asked() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt)
}
