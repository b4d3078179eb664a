// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

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

// runs makes a verb that runs halves of the pipeline in the foreground.
func runs(cmd *cobra.Command, f *service.Flags) *cobra.Command {
	background := false
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(*cobra.Command, []string) error {
		switch {
		case background:
			return service.Usage(errors.New("-b is not known any more, for the service manager runs certpush in the background: use `certpush service start`"))
		case f.Workers < 0 || f.Queue < 0:
			return service.Usage(errors.New("-t and -q must be 1 or more"))
		}
		return service.Run(*f, buildVersion())
	}
	fileFlag(cmd, f)
	journalFlag(cmd, f)
	cmd.Flags().BoolVarP(&background, "background", "b", false, "")
	if err := cmd.Flags().MarkHidden("background"); err != nil {
		panic(err) // the flag is defined one line above
	}
	return cmd
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
		Use: "check", Short: "try the file, the trees, the limits and every scanner", Args: cobra.NoArgs,
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
		Use: "scan PATH...", Short: "push these now and print the verdicts", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
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
		Use: "status", Short: "what waits, how old, scanners, trees", Args: cobra.NoArgs,
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
		Use: "sweep [TREE]", Short: "ask the running service for a sweep of one tree, or of all", Args: cobra.MaximumNArgs(1),
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
	return cmd
}

func reloadVerb() *cobra.Command {
	var f service.Flags
	cmd := &cobra.Command{
		Use: "reload", Short: "have the running service read its file again", Args: cobra.NoArgs,
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
	return cmd
}

func versionVerb() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printVersion(cmd, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
