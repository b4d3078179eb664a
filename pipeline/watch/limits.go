// SPDX-License-Identifier: Apache-2.0

package watch

// Limit is what the system allows; zero where it has no such limit.
type Limit struct {
	Watches      int // fs.inotify.max_user_watches: directories that one user may watch
	QueuedEvents int // fs.inotify.max_queued_events: waiting for one reader, then they are lost
	Instances    int // fs.inotify.max_user_instances: trees that one user may watch, over all programs
}
