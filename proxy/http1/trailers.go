package http1

// stepTrailer takes one byte of the trailer section (RFC 9112, section 7.1.2).
func (c *Chunks) stepTrailer(b byte) {
	if c.trailers++; c.trailers > maxTrailers {
		c.err = ErrTrailersTooLarge
		return
	}
	switch c.state {
	case atTrailer:
		if b == '\r' {
			c.state = atLastLF
			return
		}
		c.named = 0
		c.inName(b)
	case inTrailerName:
		if b == ':' {
			c.endName()
			return
		}
		c.inName(b)
	case inTrailerValue:
		switch {
		case b == '\r':
			c.state = atTrailerLF
		case classes[b]&isVisible == 0:
			c.err = ErrTrailer
		}
	case atTrailerLF:
		c.endLine(b, atTrailer)
	case atLastLF:
		c.endLine(b, atEnd)
	}
}

// endLine goes on behind a line end that is whole.
func (c *Chunks) endLine(b byte, next chunkState) {
	if b != '\n' {
		c.err = ErrTrailer
		return
	}
	c.state = next
}

func (c *Chunks) inName(b byte) {
	c.state = inTrailerName
	if classes[b]&isToken == 0 {
		c.err = ErrTrailer
		return
	}
	if c.named < len(c.name) {
		c.name[c.named] = lower[b]
	}
	c.named++
}

func (c *Chunks) endName() {
	c.state = inTrailerValue
	if !c.AnyTrailer && forbiddenTrailer(c.name[:min(c.named, len(c.name))]) {
		c.err = ErrForbiddenTrailer
	}
}

// forbiddenTrailer reports whether a field, spelled in lower case, is about
// framing, routing, authentication or how to read the body, and so must not come
// behind it (RFC 9110, section 6.5.1).
func forbiddenTrailer(name []byte) bool {
	switch string(name) {
	case "authorization", "cache-control", "connection", "content-encoding", "content-length",
		"content-range", "content-type", "expect", "host", "keep-alive", "max-forwards", "pragma",
		"proxy-authenticate", "proxy-authorization", "proxy-connection", "range", "realm", "te",
		"trailer", "transfer-encoding", "www-authenticate":
		return true
	}
	return hasPrefixFold(name, "if-")
}
