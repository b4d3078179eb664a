// SPDX-License-Identifier: Apache-2.0

package producer

import "sync"

// claims are the paths that sweeps are journaling: the intake leaves them alone until
// they are indexed.
type claims struct {
	mu    sync.Mutex // guards paths
	paths map[string]bool
}

func (c *claims) take(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths[path] = true
}

func (c *claims) drop(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.paths, path)
}

func (c *claims) has(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[path]
}
