// Package nginx reads nginx's configuration and changes it without touching
// what it does not mean to: every byte of a file belongs to a token, an edit
// replaces the bytes of some tokens, and all others stay as they are, comments,
// tabs, line ends and mistakes included.
//
// It splits a file as nginx does (ngx_conf_read_token: quotes only at the
// beginning of a word, a hash within a word is no comment, "${" is no block) and
// knows what few directives mean: upstream and server, listen, location and
// those that pass requests on. It also runs nginx itself, which stays the judge
// of its files: nginx -T lists them, nginx -t tests them.
//
// Promises:
//
//	N1  The tokens of a file, joined, are the file; no input makes the package panic.
//	N2  An edit changes no byte outside of the directives that it is about.
package nginx
