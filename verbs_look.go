// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/certpush/certpush/service"
)

// asks makes cmd a verb that asks the running service and takes n arguments.
func asks(cmd *cobra.Command, n int, missing string, do func(ctx context.Context, f service.Flags, args []string, out io.Writer) error) *cobra.Command {
	var f service.Flags
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < n:
			return errors.New(missing)
		case len(args) > n:
			return fmt.Errorf("%s takes no %q", cmd.Name(), args[n])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := asked()
		defer stop()
		return do(ctx, f, args, cmd.OutOrStdout())
	}
	fileFlag(cmd, &f)
	journalFlag(cmd, &f)
	return cmd
}

func whyVerb() *cobra.Command {
	return asks(&cobra.Command{Use: "why PATH|SHA256|ID", Short: "a sample's whole story, from journal and ledger"}, 1, "why needs a path, a SHA-256 or an id",
		func(ctx context.Context, f service.Flags, args []string, out io.Writer) error {
			return service.Why(ctx, f, args[0], out)
		})
}

func verifyVerb() *cobra.Command {
	fix, read := false, false
	cmd := asks(&cobra.Command{Use: "verify", Short: "prove that every file in the trees has its outcome"}, 0, "",
		func(ctx context.Context, f service.Flags, _ []string, out io.Writer) error {
			return service.Verify(ctx, f, fix, read, out)
		})
	cmd.Flags().BoolVar(&fix, "fix", false, "journal again what is not accounted for")
	cmd.Flags().BoolVar(&read, "read", false, "read each file too, and hold its hash against that of its verdict")
	return cmd
}

func pauseVerb() *cobra.Command {
	return asks(&cobra.Command{Use: "pause SCANNER", Short: "push nothing to a scanner until resume; its samples wait"}, 1, "pause needs a scanner's name: see certpush status",
		func(ctx context.Context, f service.Flags, args []string, out io.Writer) error {
			if err := service.Pause(ctx, f, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(out, "paused")
			return err
		})
}

func resumeVerb() *cobra.Command {
	return asks(&cobra.Command{Use: "resume SCANNER", Short: "let pushing to a paused scanner go on"}, 1, "resume needs a scanner's name: see certpush status",
		func(ctx context.Context, f service.Flags, args []string, out io.Writer) error {
			if err := service.Resume(ctx, f, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(out, "resumed")
			return err
		})
}

func deadVerb() *cobra.Command {
	group := &cobra.Command{Use: "dead", Short: "samples that were given up: list, retry, drop",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("dead knows no %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	list := asks(&cobra.Command{Use: "list", Short: "list the dead letters"}, 0, "",
		func(ctx context.Context, f service.Flags, _ []string, out io.Writer) error {
			return service.Dead(ctx, f, out)
		})
	all := false
	retry := asks(&cobra.Command{Use: "retry ID|--all", Short: "push a dead letter once more, or all"}, 0, "",
		func(ctx context.Context, f service.Flags, args []string, out io.Writer) error {
			return service.Retry(ctx, f, first(args), out)
		})
	retry.Flags().BoolVar(&all, "all", false, "all dead letters")
	retry.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 || all == (len(args) == 1) {
			return errors.New("dead retry needs one id, or --all")
		}
		return nil
	}
	drop := asks(&cobra.Command{Use: "drop ID", Short: "take a dead letter off the list, for good"}, 1, "dead drop needs an id",
		func(ctx context.Context, f service.Flags, args []string, out io.Writer) error {
			return service.Drop(ctx, f, args[0], out)
		})
	group.AddCommand(list, retry, drop)
	return group
}

func scannerVerb() *cobra.Command {
	var f service.Flags
	test := &cobra.Command{
		Use: "test [NAME]", Short: "ask each address of a scanner what it sees, with canaries, now",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("test takes no %q", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := asked()
			defer stop()
			return service.TestScanners(ctx, f, first(args), cmd.OutOrStdout())
		},
	}
	fileFlag(test, &f)
	cmd := &cobra.Command{Use: "scanner", Short: "what the scanners see"}
	cmd.AddCommand(test)
	return cmd
}
