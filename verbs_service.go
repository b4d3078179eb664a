// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certpush/certpush/installer"
	"github.com/certpush/certpush/service"
)

func serviceVerb() *cobra.Command {
	var f service.Flags
	group := &cobra.Command{Use: "service", Short: "what the service manager needs",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("service knows no %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	dropin := &cobra.Command{
		Use: "dropin", Short: "print the systemd drop-in that the configuration needs", Args: noArgs,
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
	group.AddCommand(dropin,
		byHand("install", "register this program with the service manager, where no package did", func(cmd *cobra.Command) error {
			return installer.Install(cmd.OutOrStdout())
		}),
		byHand("uninstall", "undo install; configuration and state are kept", func(cmd *cobra.Command) error {
			return installer.Uninstall(cmd.OutOrStdout())
		}),
		byHand("status", "say whether the service runs", func(cmd *cobra.Command) error {
			text, err := installer.Status()
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintln(cmd.OutOrStdout(), text); err != nil {
				return err
			}
			switch text {
			case installer.Stopped:
				return service.Told(service.ExitStopped, text)
			case installer.Absent:
				return service.Told(service.ExitAbsent, text)
			}
			return nil
		}))
	var quiet bool
	configure := byHand("configure", "set account, rights, recovery and delayed start of the service (Windows)", func(cmd *cobra.Command) error {
		out := cmd.OutOrStdout()
		if quiet {
			out = io.Discard
		}
		return installer.Configure(out)
	})
	configure.Flags().BoolVar(&quiet, "quiet", false, "say nothing unless it fails")
	group.AddCommand(configure)
	for _, action := range []string{"start", "stop", "restart"} {
		group.AddCommand(byHand(action, action+" the service", func(*cobra.Command) error { return installer.Control(action) }))
	}
	return group
}

// byHand returns a verb that needs the rights of an administrator.
func byHand(name, short string, do func(cmd *cobra.Command) error) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		err := do(cmd)
		if told, is := errors.AsType[*service.ToldError](err); is {
			return told
		}
		if errors.Is(err, fs.ErrPermission) || err != nil && os.Geteuid() > 0 {
			return fmt.Errorf("service %s: %w: %s: %w", name, err, installer.Rights, fs.ErrPermission)
		}
		if err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
		return nil
	}}
}

// earsVerb is for the unit, not for people: see service.LeaveEars.
func earsVerb() *cobra.Command {
	var f service.Flags
	cmd := &cobra.Command{
		Use: "ears", Short: "open what the engine fanotify hears by, as root, for the service", Args: noArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return service.LeaveEars(f, cmd.OutOrStdout()) },
	}
	// Those of run: the drop-in takes them over from the unit's own line.
	fileFlag(cmd, &f)
	journalFlag(cmd, &f)
	treeFlag(cmd, &f)
	scannerFlags(cmd, &f)
	return cmd
}

// needs returns what the unit must allow for the settings s.
func needs(s service.Settings) installer.Needs {
	var n installer.Needs
	for _, dir := range s.Written() {
		n.Writes = append(n.Writes, service.Resolved(dir))
	}
	for _, t := range s.Pipeline.Trees {
		n.Trees = append(n.Trees, service.Resolved(t.Path))
		if t.Engine == "fanotify" {
			n.Ears = service.EarsCommand()
		}
	}
	for _, c := range s.Pipeline.Scanners {
		for _, list := range c.Lists {
			n.Reads = append(n.Reads, service.Resolved(list))
		}
		for _, a := range c.Addresses {
			if socket, is := strings.CutPrefix(a, "unix:"); is {
				n.Sockets = append(n.Sockets, service.Resolved(socket))
			}
		}
	}
	return n
}
