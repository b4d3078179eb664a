// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certpush/certpush/service"
)

func fileFlag(cmd *cobra.Command, f *service.Flags) {
	cmd.Flags().StringVarP(&f.File, "config", "c", "", "configuration `FILE` (default: the system's own, where it is there)")
}

func treeFlag(cmd *cobra.Command, f *service.Flags) {
	cmd.Flags().StringArrayVarP(&f.Trees, "tree", "d", nil, "watch `TREE` instead of the file's; may be given again")
}

func journalFlag(cmd *cobra.Command, f *service.Flags) {
	cmd.Flags().StringVarP(&f.JournalDir, "journal", "m", "", "keep the journal in `DIR`")
}

func scannerFlags(cmd *cobra.Command, f *service.Flags) {
	cmd.Flags().StringVarP(&f.Address, "scanner", "s", "", "push to the clamd at `ADDRESS` instead of the file's scanners: IP:PORT or unix:/path")
	cmd.Flags().IntVarP(&f.Workers, "workers", "t", 0, "samples in flight at once, of each scanner (0: as in the file)")
	cmd.Flags().IntVarP(&f.Queue, "queue", "q", 0, "lines read ahead, for each scanner (0: as in the file)")
}

// runs makes cmd a verb that runs one half of the pipeline, or both, in the foreground.
func runs(cmd *cobra.Command, f *service.Flags) *cobra.Command {
	cmd.Args = noArgs
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := numbers(f); err != nil {
			return err
		}
		return service.Run(*f, buildVersion())
	}
	fileFlag(cmd, f)
	journalFlag(cmd, f)
	return cmd
}

// noArgs refuses arguments, for example a tree without -d before it.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no %q", cmd.Name(), args[0])
	}
	return nil
}

// numbers refuses values of -t and -q below 0.
func numbers(f *service.Flags) error {
	if f.Workers < 0 || f.Queue < 0 {
		return service.Usage(errors.New("-t and -q must not be below 0: write 1 or more"))
	}
	return nil
}

func runVerb() *cobra.Command {
	f := &service.Flags{Half: service.Both}
	cmd := runs(&cobra.Command{Use: "run", Short: "watch and push, in the foreground; what the unit starts"}, f)
	treeFlag(cmd, f)
	scannerFlags(cmd, f)
	return cmd
}

func watchVerb() *cobra.Command {
	f := &service.Flags{Half: service.ProducerOnly}
	cmd := runs(&cobra.Command{Use: "watch", Short: "the producer alone: watch the trees and write the journal"}, f)
	treeFlag(cmd, f)
	return cmd
}

func pushVerb() *cobra.Command {
	f := &service.Flags{Half: service.ConsumerOnly}
	cmd := runs(&cobra.Command{Use: "push", Short: "the consumer alone: push what the journal holds"}, f)
	cmd.Flags().StringVarP(&f.JournalDir, "dir", "d", "", "the same as -m `DIR`")
	scannerFlags(cmd, f)
	return cmd
}

func checkVerb() *cobra.Command {
	var f service.Flags
	offline := false
	cmd := &cobra.Command{
		Use: "check", Short: "try the file, the trees, the limits and every scanner", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := asked()
			defer stop()
			return service.Check(ctx, f, offline, cmd.OutOrStdout())
		},
	}
	fileFlag(cmd, &f)
	cmd.Flags().BoolVar(&offline, "offline", false, "leave the scanners out")
	return cmd
}

func scanVerb() *cobra.Command {
	var f service.Flags
	cmd := &cobra.Command{
		Use: "scan PATH...", Short: "push these now and print the verdicts",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("scan needs a file or a folder")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := numbers(&f); err != nil {
				return err
			}
			ctx, stop := asked()
			defer stop()
			return service.Scan(ctx, f, args, cmd.OutOrStdout(), os.Stderr)
		},
	}
	fileFlag(cmd, &f)
	scannerFlags(cmd, &f)
	return cmd
}

func statusVerb() *cobra.Command {
	var f service.Flags
	asJSON := false
	cmd := &cobra.Command{
		Use: "status", Short: "what waits, how old, scanners, trees", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := asked()
			defer stop()
			return service.Status(ctx, f, asJSON, cmd.OutOrStdout())
		},
	}
	fileFlag(cmd, &f)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func sweepVerb() *cobra.Command {
	var f service.Flags
	cmd := &cobra.Command{
		Use: "sweep [TREE]", Short: "ask the running service for a sweep of one tree, or of all",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("sweep takes one tree, and %q is another: ask for one at a time, or name none for all", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := asked()
			defer stop()
			if err := service.Sweep(ctx, f, first(args)); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "sweep asked for")
			return err
		},
	}
	fileFlag(cmd, &f)
	journalFlag(cmd, &f)
	return cmd
}

func reloadVerb() *cobra.Command {
	var f service.Flags
	cmd := &cobra.Command{
		Use: "reload", Short: "have the running service read its file again", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := asked()
			defer stop()
			if err := service.Reload(ctx, f); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
			return err
		},
	}
	fileFlag(cmd, &f)
	journalFlag(cmd, &f)
	return cmd
}

func versionVerb() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printVersion(cmd, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func helpVerb() *cobra.Command {
	return &cobra.Command{
		Use: "help [VERB]", Short: "help about a verb",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, _, err := cmd.Root().Find(args)
			if err != nil {
				return service.Usage(fmt.Errorf("there is no verb %q: see `certpush help`", first(args)))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// completionVerb replaces the one of cobra, which accepts a shell that it does not know
// without an error.
func completionVerb() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion SHELL", Short: "print what makes SHELL complete verbs and flags: bash, zsh, fish or powershell", ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			out, root := cmd.OutOrStdout(), cmd.Root()
			switch strings.Join(args, " ") {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return service.Usage(fmt.Errorf("completion: name one shell of %s", strings.Join(shells, ", ")))
		},
	}
}
