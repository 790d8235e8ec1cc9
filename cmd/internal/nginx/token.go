package nginx

import "strings"

// Kind says what a token is.
type Kind int

// The kinds. Space and comments are tokens too, so that nothing is lost.
const (
	Space Kind = iota
	Comment
	Word
	Semicolon
	Open
	Close
)

// Token is a piece of a file, from Start to just before End.
type Token struct {
	Kind       Kind
	Start, End int
}

// Tokens splits a file. It never fails: what nginx would refuse becomes tokens
// as well as it can.
func Tokens(src []byte) []Token {
	var tokens []Token
	for at := 0; at < len(src); {
		t := tokenAt(src, at)
		tokens = append(tokens, t)
		at = t.End
	}
	return tokens
}

func tokenAt(src []byte, at int) Token {
	switch c := src[at]; {
	case isSpace(c):
		return Token{Space, at, skip(src, at, isSpace)}
	case c == '#':
		return Token{Comment, at, skip(src, at, func(c byte) bool { return c != '\n' })}
	case c == ';':
		return Token{Semicolon, at, at + 1}
	case c == '{':
		return Token{Open, at, at + 1}
	case c == '}':
		return Token{Close, at, at + 1}
	case c == '"' || c == '\'':
		return Token{Word, at, quotedEnd(src, at)}
	}
	return Token{Word, at, wordEnd(src, at)}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// skip returns where the run of bytes that want accepts ends.
func skip(src []byte, at int, want func(byte) bool) int {
	for at < len(src) && want(src[at]) {
		at++
	}
	return at
}

// quotedEnd returns where the quoted word that begins at at ends: behind its
// quote, or at the file's end.
func quotedEnd(src []byte, at int) int {
	quote := src[at]
	for at++; at < len(src); at++ {
		switch src[at] {
		case '\\':
			at++
		case quote:
			return at + 1
		}
	}
	return len(src)
}

// wordEnd returns where an unquoted word ends. Braces behind a dollar sign are
// a variable's.
func wordEnd(src []byte, at int) int {
	for at < len(src) {
		switch c := src[at]; {
		case c == '\\':
			at = min(at+2, len(src))
		case c == '$':
			at = skip(src, at+1, func(c byte) bool { return c == '{' })
		case isSpace(c), c == ';', c == '{':
			return at
		default:
			at++
		}
	}
	return at
}

// unquote is what nginx takes a word for.
func unquote(word string) string {
	if n := len(word); n >= 2 && (word[0] == '"' || word[0] == '\'') && word[n-1] == word[0] {
		word = word[1 : n-1]
	}
	return strings.NewReplacer(`\"`, `"`, `\'`, `'`, `\\`, `\`, `\t`, "\t", `\r`, "\r", `\n`, "\n").Replace(word)
}
