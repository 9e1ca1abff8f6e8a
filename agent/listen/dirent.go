package listen

import "encoding/binary"

// direntName is where the name begins in a struct linux_dirent64 (getdents(2)):
// inode and offset of 8 bytes each, the record's length of 2, the type of 1.
const direntName = 19

// numbers calls visit for each entry of b whose name is a number without a
// leading zero, as the directories of processes and descriptors are; name is
// the rest of b from the name on, in which it ends with a NUL. b is what
// getdents64(2) filled. It returns false for a b that is not of that form.
func numbers(b []byte, visit func(n int, name []byte)) bool {
	for len(b) > 0 {
		if len(b) <= direntName {
			return false
		}
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= direntName || size > len(b) {
			return false
		}
		if n, ok := number(b[direntName:size]); ok {
			visit(n, b[direntName:size])
		}
		b = b[size:]
	}
	return true
}

// number reads the decimal number that ends with a NUL.
func number(name []byte) (n int, ok bool) {
	for i, c := range name {
		switch {
		case c == 0:
			return n, i > 0
		case c < '0' || c > '9' || i >= 9 || i == 1 && n == 0:
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return 0, false
}
