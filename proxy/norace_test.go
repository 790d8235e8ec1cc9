//go:build !race

package proxy

const poolMisses = 0
