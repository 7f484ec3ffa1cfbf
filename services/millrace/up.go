package millrace

type upCmd struct{}
