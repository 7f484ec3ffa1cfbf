package redshift

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"millrace.dev/pkg/fault"
)

const (
	// maxManifest bounds the manifest of an UNLOAD.
	maxManifest = 16 << 20
	// removeAtOnce is how many files S3 removes by one call.
	removeAtOnce = 1000
	// fileTries is how often a file that breaks off is fetched.
	fileTries = 3
)

// errGone says that a file is not there.
var errGone = errors.New("there is no such file")

// get reads one file whole, at most `limit` bytes of it.
func get(ctx context.Context, c *s3.Client, bucket, key string, limit int64) ([]byte, error) {
	var err error
	for range fileTries {
		var data []byte
		if data, err = getOnce(ctx, c, bucket, key, limit); err == nil {
			return data, nil
		}
		var stated smithy.APIError
		var own *fault.Error
		if ctx.Err() != nil || errors.As(err, &stated) || errors.As(err, &own) {
			break
		}
	}
	var stated smithy.APIError
	if errors.As(err, &stated) && (stated.ErrorCode() == "NoSuchKey" || stated.ErrorCode() == "NotFound") {
		return nil, errGone
	}
	return nil, awsFault(ctx, err, "S3", "read what was unloaded")
}

func getOnce(ctx context.Context, c *s3.Client, bucket, key string, limit int64) ([]byte, error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the caller
	}
	defer func() { _ = out.Body.Close() }()
	if aws.ToInt64(out.ContentLength) > limit {
		return nil, errTooLarge()
	}
	data, err := io.ReadAll(io.LimitReader(out.Body, limit+1))
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // classified by the caller
	case int64(len(data)) > limit:
		return nil, errTooLarge()
	}
	return data, nil
}

func errTooLarge() error {
	return fault.New(fault.Precondition, fault.ReasonLimitExceeded, "an unloaded file is larger than the driver takes; select fewer or smaller columns")
}

// download is one file, or why it is none.
type download struct {
	data []byte
	err  error
}

// download fetches the files in their order, at most `ahead` before they are asked for, and calls each with them until it
// answers false or fails. Whatever was begun has ended when it returns.
func (s *Source) download(ctx context.Context, files []file, each func(file, []byte) (bool, error)) error {
	c, err := s.aws.bucket(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	pending := make(chan chan download, s.settings.LookAhead-1)
	wg.Go(func() {
		defer close(pending)
		for _, f := range files {
			one := make(chan download, 1)
			select {
			case pending <- one:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				data, err := get(ctx, c, s.address.UnloadBucket, f.key, s.settings.maxFile())
				one <- download{data, err}
			})
		}
	})
	for i := 0; i < len(files); i++ {
		one, ok := <-pending
		if !ok {
			return fault.As(ctx.Err())
		}
		d := <-one
		switch {
		case errors.Is(d.err, errGone):
			return changed("a file of the run was removed from the bucket")
		case d.err != nil:
			return d.err
		}
		if more, err := each(files[i], d.data); err != nil || !more {
			return err
		}
	}
	return nil
}

// maxFile bounds one file: the warehouse goes over what it is told by a row group.
func (s Settings) maxFile() int64 { return 4*int64(s.FileMiB)<<20 + 64<<20 }

// remove removes what was unloaded to a place; "" is none.
func (s *Source) remove(ctx context.Context, place string) error {
	if place == "" {
		return nil
	}
	c, err := s.aws.bucket(ctx)
	if err != nil {
		return err
	}
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String(s.address.UnloadBucket), Prefix: aws.String(place), MaxKeys: aws.Int32(removeAtOnce)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return awsFault(ctx, err, "S3", "list what was unloaded, to remove it")
		}
		var ids []types.ObjectIdentifier
		for _, o := range page.Contents {
			if strings.HasPrefix(aws.ToString(o.Key), place) {
				ids = append(ids, types.ObjectIdentifier{Key: o.Key})
			}
		}
		if len(ids) == 0 {
			continue
		}
		out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String(s.address.UnloadBucket), Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}})
		if err != nil {
			return awsFault(ctx, err, "S3", "remove what was unloaded")
		}
		if len(out.Errors) > 0 {
			return statedByAWS(aws.ToString(out.Errors[0].Code), "S3", "remove what was unloaded")
		}
	}
	return nil
}
