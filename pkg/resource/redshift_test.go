package resource_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

// Roles are of the partition that the region is in.
func TestRolesAreOfTheRegionsPartition(t *testing.T) {
	for region, partition := range map[string]string{
		"eu-central-1": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov", "us-iso-east-1": "aws-iso", "us-isob-east-1": "aws-isob", "eu-isoe-west-1": "aws-isoe",
	} {
		for _, of := range []string{"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-isob", "aws-isoe"} {
			c := resource.Connection{Meta: resource.Meta{ID: "c"}, Redshift: &resource.Redshift{
				Host: "h", Database: "d", User: "u", Cluster: "c", Region: region, RoleARN: "arn:" + of + ":iam::111122223333:role/path/to/reader",
			}}
			c.Normalize()
			c.DisplayName = "c"
			if vs := c.Validate(); of == partition {
				require.Empty(t, vs, region)
			} else {
				require.Len(t, vs, 1, "%s in %s", of, region)
				require.Equal(t, "redshift.role_arn", vs[0].Field)
			}
		}
	}
}

func TestNamesOfRoles(t *testing.T) {
	for role, ok := range map[string]bool{
		"arn:aws:iam::111122223333:role/a": true, "arn:aws:iam::111122223333:role/service-role/a.b@c": true,
		"arn:aws:iam::1111:role/a": false, "arn:aws:iam::111122223333:user/a": false, "arn:aws:iam::111122223333:role/": false,
		"arn:aws:iam::111122223333:role/a'": false, "a": false, "arn:aws:iam::111122223333:role/a\nb": false,
	} {
		c := resource.Connection{Meta: resource.Meta{ID: "c", DisplayName: "c"}, Redshift: &resource.Redshift{
			Host: "h", Database: "d", User: "u", Password: resource.Secret{Plain: "p"}, Region: "eu-central-1", UnloadBucket: "bucket", UnloadRole: role,
		}}
		c.Normalize()
		require.Equal(t, ok, len(c.Validate()) == 0, "%q: %v", role, c.Validate())
	}
}
