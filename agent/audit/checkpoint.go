package audit

// Files beside the log.
const (
	CheckpointName = "audit.checkpoint" // the last signed checkpoint
	KeyName        = "audit.key"        // the public key that it is verified by, one line
)
