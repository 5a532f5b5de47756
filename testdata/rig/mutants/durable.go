package mutants

import "slices"

// lasting is what files are given so that they hold over a power cut, and what is not taken for a file of ours. That a sync of the kernel is left
// out, rig brick sees.
var lasting = slices.Concat(
	in("ota/durable/durable.go",
		instead("what gets a name is synced before", "err = d.sync(f)", "err = nil", "TestOrder/write"),
		instead("the folder behind what is written", "return d.SyncDir(filepath.Dir(path))\n}\n\n// replace", "return nil\n}\n\n// replace", "TestOrder/write"),
		instead("the folder behind a new name", "return d.SyncDir(filepath.Dir(to))", "return nil", "TestOrder/link"),
		instead("the folder behind what is removed", "return fmt.Errorf(\"remove: %w\", err)\n\t}\n\treturn d.SyncDir(filepath.Dir(path))", "return fmt.Errorf(\"remove: %w\", err)\n\t}\n\treturn nil", "TestOrder/remove"),
		instead("the folder around one that is there", "return d.SyncDir(parent)\n\t}\n\tif parent", "return nil\n\t}\n\tif parent", "TestOrder/folders"),
		instead("the folder around a new one", "return fmt.Errorf(\"make folder: %w\", err)\n\t}\n\treturn d.SyncDir(parent)", "return fmt.Errorf(\"make folder: %w\", err)\n\t}\n\treturn nil", "TestOrder/folders"),
		instead("what is there already", "err = errors.Join(d.sync(f), f.Close())", "err = f.Close()", "TestOrder/sync"),
		without("half of a file goes where the disk is full", "_ = os.Remove(path + suffix)\n", "TestErrors"),
		instead("what a cut left under the name", "if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {\n\t\treturn err", "if err := error(nil); err != nil {\n\t\treturn err", "TestWriteFileOverWhatIsLeft"),
		instead("the mode, whatever the umask says", "err = f.Chmod(mode)", "err = nil", "TestWriteFileOverWhatIsLeft"),
		instead("what a cut left under the name of a link", "if err := os.Remove(path + suffix); err != nil &&", "if err := error(nil); err != nil &&", "TestSymlink"),
		never("files that are too long", "int64(len(b)) > limit", "TestReadFile"),
		instead("nobody is waited for to write to a pipe", "|syscall.O_NONBLOCK", "", "TestPairDamaged/pipe").hang(),
		never("a file in the place of a folder", "!st.IsDir()", "TestErrors"),
		instead("what is not there is removed", "errors.Is(err, os.ErrNotExist) {\n\t\treturn nil", "false {\n\t\treturn nil", "TestOrder/remove_nothing"),
		instead("folders are for their owner", "os.Mkdir(path, 0o700)", "os.Mkdir(path, 0o755)", "TestMkdirIsForTheOwnerOnly"),
	),
	in("ota/durable/pair.go",
		never("pairs: a body that is too long", "len(body) > MaxPair", "TestPair"),
		instead("pairs: both files say it", "return p.disk.WriteFile(p.file(1-p.last), b, 0o600)", "return nil", "TestPair"),
		instead("pairs: the older file is written first", "p.disk.replace(p.file(1-p.last)", "p.disk.replace(p.file(p.last)", "TestPairStops"),
		instead("pairs: each Write has a generation of its own", "p.next, p.last = p.next+1, 1-p.last", "p.last = 1 - p.last", "TestPairGenerations"),
		instead("pairs: a file of another format", " || string(b[:len(pairMagic)]) != pairMagic", "", "TestPairEachBit"),
		instead("pairs: a file that is cut", "len(b) < pairHead || ", "", "TestPairEachBit"),
		never("pairs: another checksum", "got != want", "TestPairEachBit"),
		never("pairs: generations that none follows", "generation == 0 || generation == math.MaxUint64", "TestPairGenerations"),
		instead("pairs: the newer one counts", "found == 0 || generation >= p.next", "found == 0", "TestPairGenerations"),
		never("pairs: both are damaged", "len(damage) > 0 && found == 0", "TestPairDamaged"),
		never("pairs: one is gone", "found == 1 && len(damage) == 0 && p.next > 2", "TestPairDamaged/gone"),
		instead("pairs: the first Write of all may be cut", " && p.next > 2", "", "TestPairStops"),
	),
)
