// Package masktoken stands in for github.com/fluxcd/pkg/masktoken.
package masktoken

import "strings"

// MaskTokenFromString hides a secret in a text.
func MaskTokenFromString(text, token string) (string, error) {
	return strings.ReplaceAll(text, token, "***"), nil
}
