// SPDX-License-Identifier: Apache-2.0

package index

import (
	"bytes"
	"crypto/sha256"
	"path/filepath"
	"slices"

	"github.com/certpush/certpush/pipeline/watch"
)

// keys makes the keys of an index, with its salt.
type keys []byte

// hash appends H(text) to b.
func (k keys) hash(b []byte, text string) []byte {
	h := sha256.New()
	h.Write(k)
	h.Write([]byte(text))
	var sum [32]byte
	return append(b, h.Sum(sum[:0])[:8]...)
}

// folder returns the first 9 bytes of the keys of a folder's files.
func (k keys) folder(folder string) []byte {
	return k.hash(append(make([]byte, 0, 17), 'f'), folder)
}

func (k keys) file(path string) []byte {
	folder, name := filepath.Split(path)
	return k.hash(k.folder(filepath.Clean(folder)), name)
}

// keyed is a path and its key.
type keyed struct {
	path string
	key  []byte
}

// inOrder returns paths in the order of their keys. Many entries lie in a block, and a
// block is read and unpacked for each look that finds it gone from the small cache: in
// this order that is once.
func (k keys) inOrder(paths []string) []keyed {
	all := make([]keyed, len(paths))
	for i, path := range paths {
		all[i] = keyed{path, k.file(path)}
	}
	slices.SortFunc(all, func(a, b keyed) int { return bytes.Compare(a.key, b.key) })
	return all
}

// listed is one file of a folder as a sweep found it.
type listed struct {
	name string
	Stat watch.Stat
	hash []byte // of the name
}

// listed returns files with the hashes of their names, in the order of the hashes.
func (k keys) listed(files []watch.Entry) []listed {
	all := make([]listed, len(files))
	sums := make([]byte, 0, 8*len(files))
	for i, f := range files {
		sums = k.hash(sums, f.Name)
		all[i] = listed{name: f.Name, Stat: f.Stat, hash: sums[8*i:]}
		all[i].hash = all[i].hash[:8:8]
	}
	slices.SortFunc(all, func(a, b listed) int { return bytes.Compare(a.hash, b.hash) })
	return all
}
