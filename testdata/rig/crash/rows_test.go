package crash

const faultTable = "crash-faults"

// The rows of crash-faults.
const (
	faultFull        = "another process fills the disk; the start is the first commit behind it"
	faultBackup      = "an old copy of the state directory is put back"
	faultInodes      = "no inodes left"
	faultStopped     = "the process stands still, and goes on"
	faultDescriptors = "no file descriptors left"
	faultSyncOnce    = "every seventh sync fails (EIO), then a power cut"
	faultSyncNever   = "no sync goes well any more (EIO)"
	faultSyncSlow    = "each sync takes 2 s"
	faultReadOnly    = "the disk turns read-only"
	faultDeleted     = "the state directory is deleted"
	faultMemory      = "the kernel kills it for memory"
	faultProcessor   = "a hundredth of a processor"
)

var faultRows = []string{
	faultFull, faultBackup, faultInodes, faultStopped, faultDescriptors, faultSyncOnce, faultSyncNever, faultSyncSlow, faultReadOnly, faultDeleted, faultMemory, faultProcessor,
}

// faultsAlways is how many of them, from the first on, the short form does each time.
const faultsAlways = 2
