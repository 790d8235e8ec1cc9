package systemd

import "io"

// What tests look at: how the texts of others are read.

var (
	UnitOf     = unitOf
	LinesOfRun = linesOfRun
	ReadUnix   = readUnix
)

// ReadTCP returns "local remote state inode" of each line.
func ReadTCP(table io.Reader) (lines []string, err error) {
	err = readTCP(table, func(s tcpSocket) {
		lines = append(lines, s.local.String()+" "+s.remote.String()+" "+s.state+" "+s.inode)
	})
	return lines, err
}
