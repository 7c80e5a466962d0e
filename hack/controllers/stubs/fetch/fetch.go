// Package fetch stands in for github.com/fluxcd/pkg/http/fetch: it downloads the artifact of a source and unpacks it.
package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/fluxcd/pkg/tar"
)

// The errors after which the controller waits for the next artifact.
var (
	ErrFileNotFound   = errors.New("file not found")
	ErrDigestMismatch = errors.New("digest does not match")
)

// Option changes a fetcher. Only the options of tar change this one.
type Option func(*ArchiveFetcher)

// ArchiveFetcher downloads artifacts.
type ArchiveFetcher struct{ untar []tar.Option }

func none(*ArchiveFetcher) {}

func WithLogger(any) Option               { return none }
func WithRetries(int) Option              { return none }
func WithMaxDownloadSize(int) Option      { return none }
func WithHostnameOverwrite(string) Option { return none }
func WithTLSConfig(*tls.Config) Option    { return none }
func WithUntar(o ...tar.Option) Option    { return func(f *ArchiveFetcher) { f.untar = o } }

// New returns a fetcher.
func New(options ...Option) *ArchiveFetcher {
	fetcher := &ArchiveFetcher{}
	for _, option := range options {
		option(fetcher)
	}
	return fetcher
}

// FetchWithContext downloads an artifact, compares its digest and unpacks it into a folder.
func (f *ArchiveFetcher) FetchWithContext(ctx context.Context, url, digest, folder string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s: %w", url, ErrFileNotFound)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	archive, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(archive); digest != "sha256:"+hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%s: %w", url, ErrDigestMismatch)
	}
	return tar.Untar(bytes.NewReader(archive), folder, f.untar...)
}
