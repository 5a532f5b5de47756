package crash

const faultTable = "crash-faults"

// The rows of crash-faults.
const (
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
	faultInodes, faultStopped, faultDescriptors, faultSyncOnce, faultSyncNever, faultSyncSlow, faultReadOnly, faultDeleted, faultMemory, faultProcessor,
}
