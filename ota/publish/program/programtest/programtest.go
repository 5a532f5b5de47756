// Package programtest makes programs for tests: ELF files that bear what Go writes into a program, and nothing that runs.
package programtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
)

// base is the address that a program is loaded at.
const base = 0x10000

// Make returns a program for GOOS, GOARCH and GOARM that holds body, of a module with one dependency.
func Make(goos, goarch, goarm string, body []byte) []byte {
	build := "path\texample.com/gateway/cmd/tidegate\nmod\texample.com/gateway\t(devel)\t\ndep\texample.com/lib\tv1.2.3\th1:c3VtIG9mIHRoZSBmaWxlcyBvZiBhIG1vZHVsZTEyMzQ=\n" +
		"build\t-trimpath=true\nbuild\tCGO_ENABLED=0\nbuild\tGOARCH=" + goarch + "\nbuild\tGOOS=" + goos + "\n"
	if goarm != "" {
		build += "build\tGOARM=" + goarm + "\n"
	}
	return With(goarch, build, body)
}

// With returns a program for GOARCH whose build information is build, as debug/buildinfo prints it.
func With(goarch, build string, body []byte) []byte {
	info := joined("\xff Go buildinf:\x08\x02", strings.Repeat("\x00", 16), text("go1.26.0"), text(strings.Repeat("0", 16)+build+strings.Repeat("1", 16)))
	names := "\x00.go.buildinfo\x00.shstrtab\x00"
	machine, wide := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "386": elf.EM_386}[goarch], strings.HasSuffix(goarch, "64")
	head, prog, section, class := 52, 32, 40, elf.ELFCLASS32
	if wide {
		head, prog, section, class = 64, 56, 64, elf.ELFCLASS64
	}
	infoAt := head + prog + 3*section
	infoAt += -infoAt & 15 // the magic is looked for at multiples of 16
	namesAt := infoAt + len(info)
	size := namesAt + len(names) + len(body)
	ident := [16]byte{0x7f, 'E', 'L', 'F', byte(class), byte(elf.ELFDATA2LSB), 1}
	var b bytes.Buffer
	put := func(x any) { _ = binary.Write(&b, binary.LittleEndian, x) } // a buffer takes all
	if wide {
		put(elf.Header64{
			Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Phoff: uint64(head), Shoff: uint64(head + prog),
			Ehsize: uint16(head), Phentsize: uint16(prog), Phnum: 1, Shentsize: uint16(section), Shnum: 3, Shstrndx: 2,
		})
		put(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 6, Vaddr: base, Filesz: uint64(size), Memsz: uint64(size)})
		put(elf.Section64{})
		put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Addr: uint64(base + infoAt), Off: uint64(infoAt), Size: uint64(len(info))})
		put(elf.Section64{Name: 15, Type: uint32(elf.SHT_STRTAB), Off: uint64(namesAt), Size: uint64(len(names))})
	} else {
		put(elf.Header32{
			Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Phoff: uint32(head), Shoff: uint32(head + prog),
			Ehsize: uint16(head), Phentsize: uint16(prog), Phnum: 1, Shentsize: uint16(section), Shnum: 3, Shstrndx: 2,
		})
		put(elf.Prog32{Type: uint32(elf.PT_LOAD), Flags: 6, Vaddr: base, Filesz: uint32(size), Memsz: uint32(size)})
		put(elf.Section32{})
		put(elf.Section32{Name: 1, Type: uint32(elf.SHT_PROGBITS), Addr: uint32(base + infoAt), Off: uint32(infoAt), Size: uint32(len(info))})
		put(elf.Section32{Name: 15, Type: uint32(elf.SHT_STRTAB), Off: uint32(namesAt), Size: uint32(len(names))})
	}
	b.Write(make([]byte, infoAt-b.Len()))
	return append(append(append(b.Bytes(), info...), names...), body...)
}

func joined(parts ...string) []byte { return []byte(strings.Join(parts, "")) }

// text returns s behind its length.
func text(s string) string {
	if len(s) > 1<<20 {
		panic(fmt.Sprintf("build information of %d bytes", len(s)))
	}
	return string(binary.AppendUvarint(nil, uint64(len(s)))) + s
}
