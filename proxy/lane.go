package proxy

type Lane struct{}

func serveLane(s *serving, c *clientConn) { s.handOver(c) }
