// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"errors"
	"testing"
)

func TestEachChangeIsToldOnce(t *testing.T) {
	var c Condition
	full, broken := errors.New("full"), errors.New("broken")
	for i, step := range []struct {
		err, after error
		want       Change
	}{
		{nil, nil, Same}, {full, full, Began}, {full, full, Same}, {broken, full, Same}, {nil, nil, Ended}, {nil, nil, Same}, {broken, broken, Began},
	} {
		if got := c.Note(step.err); got != step.want || !errors.Is(c.Err(), step.after) {
			t.Errorf("step %d: change %v with error %v, want %v with %v", i, got, c.Err(), step.want, step.after)
		}
	}
}
