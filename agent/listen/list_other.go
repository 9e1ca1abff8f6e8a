//go:build !linux && !windows

package listen

import "context"

func list(ctx context.Context) (Snapshot, error) { return Portable(ctx) }
